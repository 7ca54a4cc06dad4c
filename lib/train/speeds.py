"""Estimates the training time: an initial guess from a table, corrected by every run that finishes on this machine."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from lib.train.recipe import Recipe

# images/s on two cores at 128 px (docs/train.md); the cost grows with the area
TRAINING, FORWARD = 80.0, 360.0
OVERHEAD = 12.0  # seconds: imports, evaluation, drawings for the trackers
LEARN = 0.5  # weight of the newest run


class Speeds:
    """Correction factors per framework, backbone and technique in a JSON file: one for the epochs, one for the overhead."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def estimate(self, recipe: Recipe, train: int, evaluated: int) -> float:
        """Returns the estimated seconds for ``train`` training images and ``evaluated`` others."""
        factors, key = self._factors(), _key(recipe)
        return sum(s * factors.get(f"{key}/{part}", 1.0) for part, s in _guess(recipe, train, evaluated).items())

    def learn(self, recipe: Recipe, train: int, evaluated: int, *, epochs: float, whole: float) -> None:
        """Update the factors with a run's measured seconds: ``epochs`` for its epochs, ``whole`` in total."""
        measured = {"epochs": epochs, "around": max(0.1, whole - epochs)}
        with self._lock:
            factors = self._factors()
            for part, guess in _guess(recipe, train, evaluated).items():
                key, ratio = f"{_key(recipe)}/{part}", measured[part] / guess
                factors[key] = min(100.0, max(0.01, factors.get(key, ratio) * (1 - LEARN) + ratio * LEARN))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".part")
            unfinished.write_text(json.dumps(factors))
            unfinished.replace(self._path)

    def _factors(self) -> dict[str, float]:
        try:
            content: Any = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in content.items() if isinstance(v, int | float)} if isinstance(content, dict) else {}


def _guess(recipe: Recipe, train: int, evaluated: int) -> dict[str, float]:
    """Returns the uncorrected seconds of the epochs, and of the overhead."""
    area = (recipe.image_size / 128) ** 2
    if recipe.technique == "feature_extraction":  # the features are computed before the first epoch
        return {"epochs": 0.02 * recipe.epochs, "around": OVERHEAD + (train + evaluated) * area / FORWARD}
    return {"epochs": recipe.epochs * train * area / TRAINING, "around": OVERHEAD + evaluated * area / FORWARD}


def _key(recipe: Recipe) -> str:
    return f"{recipe.framework}/{recipe.backbone}/{recipe.technique}"
