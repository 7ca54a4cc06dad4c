"""Inference with a trained PyTorch network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from lib.errors import JobFailed
from lib.train.backbones import choose
from lib.train.recipe import Recipe
from lib.train.torch_training.batches import to_tensor
from lib.train.torch_training.network import Network, build_network
from lib.train.training import BEST

ROWS = 64  # images per forward pass


class TorchClassifier:
    """``Classifier`` for a ``Network``. Always float32: mixed precision is used for training only."""

    def __init__(self, network: Network, device: torch.device | None = None) -> None:
        self.network = network.eval()
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self.device)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(self.network, pixels)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(lambda x: self.network(x).softmax(dim=1), pixels)

    def embeddings(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(self.network.embed, pixels)

    def first_layer(self) -> np.ndarray | None:
        for module in self.network.backbone.modules():
            if isinstance(module, torch.nn.Conv2d):
                return module.weight.detach().float().cpu().numpy().transpose(0, 2, 3, 1)
        return None

    @torch.inference_mode()
    def _run(self, function: Callable[[torch.Tensor], torch.Tensor], pixels: np.ndarray) -> np.ndarray:
        parts = [function(to_tensor(pixels[i : i + ROWS]).to(self.device)) for i in range(0, len(pixels), ROWS)]
        return torch.cat(parts).float().cpu().numpy()


def load(recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...] = ()) -> TorchClassifier:
    """Returns the classifier of a run. Raises JobFailed if the run has no weights (yet)."""
    if not (folder / BEST).is_file():
        raise JobFailed("This run has no weights: it ended before completing an epoch.")
    network, _ = build_network(recipe, choose(recipe.backbone, backbones), len(classes), trained=False)
    network.load_state_dict(load_file(folder / BEST))
    return TorchClassifier(network)
