"""The network that is trained: normalization, a backbone of timm and one linear layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lib.train.backbones import Backbone, BackboneWeights
from lib.train.recipe import Recipe
from lib.train.torch_training.weights import build


class Network(nn.Module):
    """``pixels`` are RGB values 0 to 255, uint8 or float [n, 3, height, width]; logits are float [n, classes]."""

    def __init__(self, backbone: nn.Module, features: int, classes: int, mean: Any, std: Any) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(features, classes)
        # part of the weights' file, so that a run never depends on what timm thinks of normalization later
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(1, 3, 1, 1))

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """float [n, features]: what the head sees."""
        x = pixels.float().contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        return self.backbone((x - self.mean) / self.std)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(pixels))


def build_network(recipe: Recipe, backbone: Backbone, classes: int, trained: bool) -> tuple[Network, BackboneWeights]:
    """A network with a fresh head from ``recipe.seed``, and where the backbone's weights come from.

    ``trained`` False leaves the backbone's weights out: the caller loads all of them.
    """
    torch.manual_seed(recipe.seed)
    network, weights = build(backbone, trained)
    config = getattr(network, "pretrained_cfg", {})
    mean = backbone.mean or tuple(255 * x for x in config.get("mean", (0.485, 0.456, 0.406)))
    std = backbone.std or tuple(255 * x for x in config.get("std", (0.229, 0.224, 0.225)))
    torch.manual_seed(recipe.seed)  # the head's first values do not depend on how the backbone came about
    features = getattr(network, "head_hidden_size", None) or network.num_features
    whole = Network(network, features, classes, mean, std)
    weights = replace(weights, parameters=sum(p.numel() for p in whole.parameters()))
    return whole.to(memory_format=torch.channels_last), weights
