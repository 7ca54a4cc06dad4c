"""Inference with a trained Keras network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import torch

from lib.train.keras_training import checkpoint
from lib.train.keras_training.network import Network, array, build_network
from lib.train.recipe import Recipe

ROWS = 16  # images per forward pass: a functional model keeps every layer's output until the end


class KerasClassifier:
    """``Classifier`` for a ``Network``, which should be float32: mixed precision is used for training only."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(self._network.model, pixels)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(lambda x, training: keras.ops.softmax(self._network.model(x, training=training)), pixels)

    def embeddings(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(self._network.backbone, pixels)

    def first_layer(self) -> np.ndarray | None:
        for layer in self._network.backbone.layers:
            if isinstance(layer, keras.layers.Conv2D):
                return array(layer.kernel).transpose(3, 0, 1, 2)
        return None

    @torch.no_grad()
    def _run(self, function: Callable[..., torch.Tensor], pixels: np.ndarray) -> np.ndarray:
        parts = [function(on_device(pixels[i : i + ROWS]), training=False) for i in range(0, len(pixels), ROWS)]
        return torch.cat(parts).float().cpu().numpy()


def on_device(pixels: np.ndarray) -> torch.Tensor:
    """Returns a tensor with a copy of ``pixels``: torch cannot wrap a read-only memory map."""
    return keras.ops.convert_to_tensor(np.array(pixels))


def load(recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...] = ()) -> KerasClassifier:
    """Returns the classifier of a run. Raises JobFailed if the run has no weights (yet)."""
    network, _ = build_network(replace(recipe, mixed_precision="no"), len(classes), False, backbones)
    checkpoint.load_best(folder, network.model)
    return KerasClassifier(network)
