"""Training with Keras 3 on the torch backend. ``train`` and ``load`` implement ``lib/train/training.py``.

Importing this package imports neither keras nor torch, because the backend must be set before keras is imported.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lib.settings import prepare_library
from lib.train.events import Event
from lib.train.recipe import Recipe
from lib.train.training import Classifier, Training

__all__ = ["load", "to_keras", "train"]


def train(training: Training) -> Iterator[Event]:
    """See ``Framework.train``. Raises JobFailed if the loss is not finite or a checkpoint cannot be read, and InvalidValue
    for a recipe that Keras does not support.
    """
    _import_keras()
    from lib.train.keras_training import loop

    yield from loop.train(training)


def load(recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...] = ()) -> Classifier:
    """See ``Framework.load``. Raises JobFailed if the run has no weights (yet)."""
    _import_keras()
    from lib.train.keras_training import classifier

    return classifier.load(recipe, classes, folder, backbones)


def to_keras(recipe: Recipe, classes: tuple[str, ...], folder: Path, path: Path, backbones: tuple[str, ...] = ()) -> None:
    """Write the network with the weights of ``folder/BEST`` as a .keras file. Raises JobFailed if there are none."""
    _import_keras()
    from lib.train.keras_training import portable

    portable.write(recipe, classes, folder, path, backbones)


def _import_keras() -> None:
    if "keras" not in sys.modules:
        # an empty KERAS_HOME avoids the user's keras.json; it is only needed during the import
        with tempfile.TemporaryDirectory(prefix="keras-") as home:
            prepare_library(KERAS_BACKEND="torch", KERAS_HOME=home)
            import keras
    else:
        import keras
    assert keras.backend.backend() == "torch", "keras was imported before, with another backend"
