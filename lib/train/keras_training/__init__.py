"""Training with Keras 3 on the torch backend. ``train`` and ``load`` are the interface of ``lib/train/training.py``.

Importing this package imports neither keras nor torch: the backend has to be named before keras is imported.
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
    """As ``Framework.train``. Raises JobFailed where the loss is no number any more or a checkpoint cannot be read, and
    InvalidValue for a recipe that Keras has nothing for."""
    _import_keras()
    from lib.train.keras_training import loop

    yield from loop.train(training)


def load(recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...] = ()) -> Classifier:
    """As ``Framework.load``. Raises JobFailed where the run has no weights (yet)."""
    _import_keras()
    from lib.train.keras_training import classifier

    return classifier.load(recipe, classes, folder, backbones)


def to_keras(recipe: Recipe, classes: tuple[str, ...], folder: Path, path: Path, backbones: tuple[str, ...] = ()) -> None:
    """Writes the network with the weights of ``folder/BEST`` as a .keras file. Raises JobFailed as ``load`` does."""
    _import_keras()
    from lib.train.keras_training import portable

    portable.write(recipe, classes, folder, path, backbones)


def _import_keras() -> None:
    if "keras" not in sys.modules:
        # Keras obeys a keras.json of the home folder; in a new folder there is none, and it is needed for the import only
        with tempfile.TemporaryDirectory(prefix="keras-") as home:
            prepare_library(KERAS_BACKEND="torch", KERAS_HOME=home)
            import keras
    else:
        import keras
    assert keras.backend.backend() == "torch", "keras was imported before, with another backend"
