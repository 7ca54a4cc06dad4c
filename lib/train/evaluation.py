"""What a trained classifier gets right: accuracy with its interval, confusion, the most confident mistakes. Pure NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.statistics import wilson

MISTAKES = 24


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Of one part of a data set: ``indices`` int64 [n] into its pictures, ``labels`` int64 [n], ``probabilities``
    float32 [n, classes]."""

    indices: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        return self.predicted == self.labels

    def result(self) -> dict[str, Any]:
        """``count``, ``correct``, ``accuracy`` and its 95 % ``interval``."""
        count, correct = len(self.labels), int(self.right.sum())
        low, high = wilson(correct, count)
        return {"count": count, "correct": correct, "accuracy": correct / max(count, 1), "interval": [low, high]}

    def confusion(self) -> np.ndarray:
        """int64 [classes, classes]: true class by row, predicted by column."""
        classes = self.probabilities.shape[1]
        flat = np.bincount(self.labels * classes + self.predicted, minlength=classes * classes)
        return flat.reshape(classes, classes)

    def mistakes(self, most: int = MISTAKES) -> list[dict[str, Any]]:
        """The wrong ones, the surest first: ``index``, ``label``, ``predicted``, ``probability``."""
        wrong = np.flatnonzero(~self.right)
        sure = self.probabilities[wrong, self.predicted[wrong]]
        return [
            {
                "index": int(self.indices[at]),
                "label": int(self.labels[at]),
                "predicted": int(self.predicted[at]),
                "probability": round(float(self.probabilities[at].max()), 4),
            }
            for at in wrong[np.argsort(-sure, kind="stable")][:most]
        ]
