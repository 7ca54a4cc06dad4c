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
    """Two factors for each framework, backbone and technique, in one JSON file: of the epochs, and of what is around."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def estimate(self, recipe: Recipe, train: int, evaluated: int) -> float:
        """Seconds for ``train`` training pictures and ``evaluated`` others."""
        factors, key = self._factors(), _key(recipe)
        return sum(s * factors.get(f"{key}/{part}", 1.0) for part, s in _guess(recipe, train, evaluated).items())

    def learn(self, recipe: Recipe, train: int, evaluated: int, *, epochs: float, whole: float) -> None:
        """Takes in what a run took: seconds of its epochs, and of all of it."""
        took = {"epochs": epochs, "around": max(0.1, whole - epochs)}
        with self._lock:
            factors = self._factors()
            for part, guess in _guess(recipe, train, evaluated).items():
                key, found = f"{_key(recipe)}/{part}", took[part] / guess
                factors[key] = min(100.0, max(0.01, factors.get(key, found) * (1 - LEARN) + found * LEARN))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".part")
            unfinished.write_text(json.dumps(factors))
            unfinished.replace(self._path)

    def _factors(self) -> dict[str, float]:
        try:
            found: Any = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}


def _guess(recipe: Recipe, train: int, evaluated: int) -> dict[str, float]:
    """Seconds of the epochs, and of what is around them."""
    area = (recipe.image_size / 128) ** 2
    if recipe.technique == "feature_extraction":  # the features are computed before the first epoch
        return {"epochs": 0.02 * recipe.epochs, "around": OVERHEAD + (train + evaluated) * area / FORWARD}
    return {"epochs": recipe.epochs * train * area / TRAINING, "around": OVERHEAD + evaluated * area / FORWARD}


def _key(recipe: Recipe) -> str:
    return f"{recipe.framework}/{recipe.backbone}/{recipe.technique}"
