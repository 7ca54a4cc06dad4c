"""How long a training will take: a first guess from a table, mended by every run that this machine has finished."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from lib.train.recipe import Recipe

# pictures/s on two cores at 128 px (docs/train.md); work grows with the area
TRAINING, FORWARD = 80.0, 360.0
OVERHEAD = 12.0  # seconds: imports, evaluation, what the trackers draw
LEARN = 0.5  # weight of the newest run


class Speeds:
    """A factor for each framework, backbone and technique, in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def estimate(self, recipe: Recipe, train: int, evaluated: int) -> float:
        """Seconds for ``train`` training pictures and ``evaluated`` others."""
        return self._guess(recipe, train, evaluated) * self._factors().get(_key(recipe), 1.0)

    def learn(self, recipe: Recipe, train: int, evaluated: int, seconds: float) -> None:
        """Takes in what a whole run took."""
        with self._lock:
            factors = self._factors()
            found = seconds / self._guess(recipe, train, evaluated)
            key = _key(recipe)
            factors[key] = min(100.0, max(0.01, factors.get(key, found) * (1 - LEARN) + found * LEARN))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".part")
            unfinished.write_text(json.dumps(factors))
            unfinished.replace(self._path)

    @staticmethod
    def _guess(recipe: Recipe, train: int, evaluated: int) -> float:
        area = (recipe.image_size / 128) ** 2
        forward = (train + evaluated) * area / FORWARD
        if recipe.technique == "feature_extraction":
            return OVERHEAD + forward + 0.02 * recipe.epochs
        return OVERHEAD + recipe.epochs * train * area / TRAINING + forward

    def _factors(self) -> dict[str, float]:
        try:
            found: Any = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}


def _key(recipe: Recipe) -> str:
    return f"{recipe.framework}/{recipe.backbone}/{recipe.technique}"
