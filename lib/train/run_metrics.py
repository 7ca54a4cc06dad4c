"""A run's logged metrics, the source of its learning curves: one line each in ``metrics.jsonl``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.train.events import Epoch, Step
from lib.train.schema import parse


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """An even sample of the optimizer steps, and every epoch; both in chronological order."""

    steps: tuple[Step, ...] = ()
    epochs: tuple[Epoch, ...] = ()

    @classmethod
    def parse(cls, lines: Iterable[Mapping[str, Any]]) -> RunMetrics:
        """Parse the JSON lines of the file. Skips lines that are neither a step nor an epoch."""
        lines = list(lines)
        steps = (parse(Step, line) for line in lines if "loss" in line)
        epochs = (parse(Epoch, line) for line in lines if "validation_loss" in line)
        return cls(tuple(filter(None, steps)), tuple(filter(None, epochs)))

    def __bool__(self) -> bool:
        return bool(self.steps or self.epochs)
