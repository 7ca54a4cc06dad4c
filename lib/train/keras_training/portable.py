"""A trained network as a .keras file that any Keras 3 opens, on any backend: no layer of ours is in it."""

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

TOLERANCE = 1e-4  # of a probability, between this file's layers and those that were trained


def write(recipe: Recipe, classes: tuple[str, ...], folder: Path, path: Path, backbones: tuple[str, ...] = ()) -> None:
    """Writes ``path``: uint8 [n, size, size, 3] RGB to probabilities float32 [n, classes].

    The file is read back and compared with the run before it is left there. Raises JobFailed where the run has no weights
    (yet), or where the two differ.
    """
    exact = replace(recipe, mixed_precision="no")
    network, _ = build_network(exact, len(classes), False, backbones, portable=True)
    checkpoint.load_best(folder, network.model)
    probabilities = keras.layers.Softmax(name="probabilities")(network.model.output)
    unfinished = path.with_name(f"unfinished-{path.stem}.keras")
    keras.Model(network.model.input, probabilities, name=recipe.backbone).save(unfinished)
    pixels = np.random.default_rng(0).integers(0, 256, (2, recipe.image_size, recipe.image_size, 3), dtype=np.uint8)
    found = keras.models.load_model(unfinished, compile=False, safe_mode=True).predict(pixels, verbose=0)
    apart = float(np.abs(found - load(recipe, classes, folder, backbones).probabilities(pixels)).max())
    if not apart <= TOLERANCE:
        unfinished.unlink()
        raise JobFailed(f"The .keras file and the run differ by {apart:.1e} in a probability, so the file is not offered.")
    unfinished.replace(path)
