"""The inputs of a training, shared by both frameworks, and the interface that each framework implements."""

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

BEST = "best.safetensors"  # weights of the best epoch, in the run's folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """``pixels`` is uint8 [n, size, size, 3] RGB, ``labels`` int64 [n], ``split`` holds indices into both.

    ``folder`` is the run's and receives the checkpoints and the best weights. ``cache`` is the dataset's, for features. With
    ``resume``, training continues from the checkpoint in ``folder``, or starts at epoch 1 if there is none. ``backbones``
    lists those added in the settings, ``processes`` is the world size.
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
    """A trained network. Inputs are uint8 [n, size, size, 3] RGB and are processed in batches."""

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Returns float32 [n, classes]; each row sums to 1."""

    def embeddings(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the input of the head, float32 [n, features]."""

    def first_layer(self) -> np.ndarray | None:
        """Returns the first convolution's weights, float32 [filters, height, width, channels], or None without one."""


class Framework(Protocol):
    """A module with these two functions; the modules are listed in ``lib/train/frameworks.py``."""

    def train(self, training: Training) -> Iterator[Event]:
        """Train and yield events, Built before the first Step.

        When an Epoch is yielded, its checkpoint is saved, and so is BEST if it is the best so far.
        """

    def load(self, recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...] = ()) -> Classifier:
        """Returns the network with the weights of ``folder/BEST``. Raises JobFailed if the run has none (yet)."""
