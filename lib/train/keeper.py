"""Writes down what happens in a training: the record and the figures of the run, and scalars for the trackers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lib.statistics import wilson
from lib.train import record
from lib.train.data import Split
from lib.train.events import Built, Epoch, Event, Step
from lib.train.runs import Run
from lib.train.trackers import Tracker, open_trackers
from lib.train.training import Training

LINES = 2000  # of figures a run keeps for its curves; TensorBoard has every step


class Keeper:
    """Writes what happens into the record and the run's figures, and scalars to the trackers."""

    def __init__(self, run: Run, training: Training, tracker: Later) -> None:
        self.run, self.training, self.tracker = run, training, tracker
        self.epochs: list[dict[str, Any]] = []
        self.step, self.logged = 0, 0.0

    def take(self, event: Event, seconds: float) -> None:
        if isinstance(event, Built):
            self._begin(event)
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Epoch):
            self._epoch(event, seconds)

    def _begin(self, event: Built) -> None:
        import torch

        self.epochs = [asdict(epoch) for epoch in event.history]
        if event.history:
            self.step = event.history[-1].step
            self.tracker.begin(self.step + 1)
        self.run.forget_after(len(event.history))
        split = self.training.split
        self.run.update(
            weights={"source": event.source, "sha256": event.sha256, "parameters": event.parameters},
            environment=record.environment(
                self.training.recipe.threads, torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
            ),
            split={
                "train": len(split.train),
                "validation": len(split.val),
                "test": len(split.test),
                "sha256": digest(split),
            },
            classes=list(self.training.classes),
            epochs=self.epochs,
        )

    def _step(self, event: Step) -> None:
        self.step = event.step
        values = {
            "loss/step": event.loss,
            "learning_rate": event.learning_rate,
            "pictures_per_second": event.pictures_per_second,
        }
        self.tracker.log(values, event.step)
        stride = max(1, event.steps // LINES)
        if event.step % stride == 0 or event.step == event.steps:
            line = asdict(event) | {"loss": round(event.loss, 6), "pictures_per_second": round(event.pictures_per_second, 1)}
            self.run.log(line)

    def _epoch(self, event: Epoch, seconds: float) -> None:
        self.epochs.append(asdict(event))
        values = {
            "loss/train": event.train_loss,
            "loss/validation": event.validation_loss,
            "accuracy/validation": event.validation_accuracy,
        }
        self.tracker.log(values, event.step)
        self.run.log(asdict(event))
        changes: dict[str, Any] = {"epochs": self.epochs, "seconds": round(seconds, 3)}
        if event.best:
            count = len(self.training.split.val)
            correct = round(event.validation_accuracy * count)
            validation = {
                "count": count,
                "correct": correct,
                "accuracy": event.validation_accuracy,
                "interval": list(wilson(correct, count)),
            }
            changes["result"] = result_of({"validation": validation}, event.epoch)
        self.run.update(**changes)


def result_of(parts: dict[str, dict[str, Any]], epoch: int) -> dict[str, Any]:
    """The test pictures' accuracy where there are some, else the validation pictures', on which the epoch was chosen."""
    on = "test" if "test" in parts else "validation"
    return {"on": on, "epoch": epoch, **parts[on], "parts": parts}


def digest(split: Split) -> str:
    return hashlib.sha256(repr((split.train, split.val, split.test)).encode()).hexdigest()


class Later:
    """Trackers that open late, because a resumed run knows its first step only when the checkpoint has been read."""

    def __init__(self, names: Sequence[str], run: Run) -> None:
        self.names, self.run = names, run
        self._tracker: Tracker | None = None

    def begin(self, first_step: int) -> None:
        """What an interrupted run left from ``first_step`` on is dropped."""
        if self._tracker is None:
            self._tracker = open_trackers(self.names, self.run.folder, self.run.id, first_step)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        if self._tracker is None:
            self.begin(0)
        self._tracker.log(values, step)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
