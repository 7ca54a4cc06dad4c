"""Writes training events to the run's record and metrics, and as scalars to the trackers."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Any

from lib.statistics import wilson
from lib.train import provenance
from lib.train.data import Split
from lib.train.evaluation import PartResult, RunResult
from lib.train.events import Built, Epoch, Event, Step
from lib.train.run_record import SplitSizes
from lib.train.runs import Run
from lib.train.trackers.lazy import LazyTracker
from lib.train.training import Training

LINES = 2000  # metrics lines kept for the curves; TensorBoard has every step


class RunWriter:
    """Consumes the events one by one. ``step`` is the last optimizer step, counted from 1."""

    def __init__(self, run: Run, training: Training, tracker: LazyTracker) -> None:
        self.run, self.training, self.tracker = run, training, tracker
        self.epochs: list[dict[str, Any]] = []
        self.step = 0

    def write(self, event: Event, seconds: float) -> None:
        """Write one event. ``seconds`` is the time that the run has taken so far."""
        if isinstance(event, Built):
            self._built(event)
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Epoch):
            self._epoch(event, seconds)

    def _built(self, event: Built) -> None:
        import torch

        self.epochs = [asdict(epoch) for epoch in event.history]
        if event.history:
            self.step = event.history[-1].step
            self.tracker.open(self.step + 1)
        self.run.forget_after(len(event.history))
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        self.run.update(
            weights=asdict(event.weights),
            environment=asdict(provenance.environment(self.training.recipe.threads, device)),
            split=asdict(sizes(self.training.split)),
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
            rounded = replace(event, loss=round(event.loss, 6), pictures_per_second=round(event.pictures_per_second, 1))
            self.run.log(asdict(rounded))

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
            validation = PartResult(
                count=count, correct=correct, accuracy=event.validation_accuracy, interval=wilson(correct, count)
            )
            changes["result"] = asdict(RunResult.of({"validation": validation}, event.epoch))
        self.run.update(**changes)


def sizes(split: Split) -> SplitSizes:
    digest = hashlib.sha256(repr((split.train, split.val, split.test)).encode()).hexdigest()
    return SplitSizes(train=len(split.train), validation=len(split.val), test=len(split.test), sha256=digest)
