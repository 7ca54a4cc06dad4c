"""Exports a trained network as a .keras file that opens in any Keras 3 on any backend, without custom layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from lib.errors import JobFailed
from lib.train.keras_training import checkpoint
from lib.train.keras_training.classifier import load
from lib.train.keras_training.network import build_network
from lib.train.recipe import Recipe

TOLERANCE = 1e-4  # maximum difference of a probability from the trained network


def write(recipe: Recipe, classes: tuple[str, ...], folder: Path, path: Path, backbones: tuple[str, ...] = ()) -> None:
    """Write ``path``: uint8 [n, size, size, 3] RGB to probabilities float32 [n, classes].

    The file is read back and compared with the run before it is released. Raises JobFailed if the run has no weights (yet)
    or the two differ.
    """
    exact = replace(recipe, mixed_precision="no")
    network, _ = build_network(exact, len(classes), False, backbones, portable=True)
    checkpoint.load_best(folder, network.model)
    probabilities = keras.layers.Softmax(name="probabilities")(network.model.output)
    unfinished = path.with_name(f"unfinished-{path.stem}.keras")
    keras.Model(network.model.input, probabilities, name=recipe.backbone).save(unfinished)
    pixels = np.random.default_rng(0).integers(0, 256, (2, recipe.image_size, recipe.image_size, 3), dtype=np.uint8)
    output = keras.models.load_model(unfinished, compile=False, safe_mode=True).predict(pixels, verbose=0)
    difference = float(np.abs(output - load(recipe, classes, folder, backbones).probabilities(pixels)).max())
    if not difference <= TOLERANCE:
        unfinished.unlink()
        raise JobFailed(
            f"A probability of the .keras file differs by {difference:.1e} from the run, so the file is not offered."
        )
    unfinished.replace(path)
