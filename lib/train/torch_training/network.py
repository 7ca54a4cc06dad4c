"""The trained network: normalization, a timm backbone and one linear layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lib.train.backbones import Backbone, BackboneWeights
from lib.train.recipe import Recipe
from lib.train.torch_training.weights import build


class Network(nn.Module):
    """``pixels`` are RGB 0 to 255, uint8 or float [n, 3, height, width]; the logits are float [n, classes]."""

    def __init__(self, backbone: nn.Module, features: int, classes: int, mean: Any, std: Any) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(features, classes)
        # saved with the weights, so that a run does not depend on timm's later defaults
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(1, 3, 1, 1))

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns the input of the head, float [n, features]."""
        x = pixels.float().contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        return self.backbone((x - self.mean) / self.std)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(pixels))


def build_network(recipe: Recipe, backbone: Backbone, classes: int, trained: bool) -> tuple[Network, BackboneWeights]:
    """Build a network with a new head initialized from ``recipe.seed``; also returns the origin of the backbone's weights.

    With ``trained`` False the backbone is not pretrained, because the caller loads all weights.
    """
    torch.manual_seed(recipe.seed)
    network, weights = build(backbone, trained)
    config = getattr(network, "pretrained_cfg", {})
    mean = backbone.mean or tuple(255 * x for x in config.get("mean", (0.485, 0.456, 0.406)))
    std = backbone.std or tuple(255 * x for x in config.get("std", (0.229, 0.224, 0.225)))
    torch.manual_seed(recipe.seed)  # the head's initialization must not depend on the backbone's
    features = getattr(network, "head_hidden_size", None) or network.num_features
    full_network = Network(network, features, classes, mean, std)
    weights = replace(weights, parameters=sum(p.numel() for p in full_network.parameters()))
    return full_network.to(memory_format=torch.channels_last), weights
