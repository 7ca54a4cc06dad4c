"""The figures of a run, from which its curves are drawn: ``metrics.jsonl`` has a line for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.train.events import Epoch, Step
from lib.train.schema import parse


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """Some of the optimizer steps, evenly drawn, and every epoch; both in the order of time."""

    steps: tuple[Step, ...] = ()
    epochs: tuple[Epoch, ...] = ()

    @classmethod
    def parse(cls, lines: Iterable[Mapping[str, Any]]) -> RunMetrics:
        """Of the file's JSON. A line that is neither a step nor an epoch is left out."""
        lines = list(lines)
        steps = (parse(Step, line) for line in lines if "loss" in line)
        epochs = (parse(Epoch, line) for line in lines if "validation_loss" in line)
        return cls(tuple(filter(None, steps)), tuple(filter(None, epochs)))

    def __bool__(self) -> bool:
        return bool(self.steps or self.epochs)
