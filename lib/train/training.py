"""One training as both frameworks see it, and the interface that each of them offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lib.train.data import Split
from lib.train.events import Event
from lib.train.recipe import Recipe
from lib.train.trackers import Tracker

BEST = "best.safetensors"  # in a run's folder: the weights of its best epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """``pixels`` is uint8 [n, size, size, 3] RGB, ``labels`` int64 [n], ``split`` holds indices into both.

    ``folder`` is the run's: checkpoints and the best weights go there. ``cache`` is the data set's, for features.
    With ``resume`` a checkpoint in ``folder`` is taken up; without one it begins at epoch 1 all the same.
    ``backbones`` is what the owner lists beside the registry, ``processes`` how many a launcher started.
    """

    recipe: Recipe
    pixels: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    split: Split
    folder: Path
    cache: Path
    fingerprint: str
    tracker: Tracker
    resume: bool = False
    backbones: tuple[str, ...] = ()
    processes: int = 1


class Classifier(Protocol):
    """A trained network. Both methods take uint8 [n, size, size, 3] RGB and compute in batches."""

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """float32 [n, classes]; rows sum to 1."""

    def embeddings(self, pixels: np.ndarray) -> np.ndarray:
        """float32 [n, features]: what the head sees."""

    def first_layer(self) -> np.ndarray | None:
        """float32 [filters, height, width, channels] of the first convolution; None without one."""


class Framework(Protocol):
    """A module with these two functions; ``lib/train/frameworks.py`` lists them."""

    def train(self, training: Training) -> Iterator[Event]:
        """Yields Built before the first Step. When an Epoch is yielded its checkpoint is on the disk, and BEST where it
        is the best so far."""

    def load(self, recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...] = ()) -> Classifier:
        """The network with the weights of ``folder/BEST``. Raises JobFailed where the run has none (yet)."""
