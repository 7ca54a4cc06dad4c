"""One run from its data to its result: trains with the recipe's framework, evaluates, tells the trackers, keeps the record.

The record says "running" from the start. A process that is killed leaves it so; ``lib/train/runs.py`` shows such a run as
interrupted, and ``conduct(resume=True)`` goes on with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import WorkbenchError
from lib.train import evaluation, record, tracked
from lib.train.data import DataSet, Split
from lib.train.events import Built, Epoch, Event, Stage, Step
from lib.train.evaluation import Predictions
from lib.train.frameworks import framework
from lib.train.pixel_cache import pixels
from lib.train.recipe import Recipe
from lib.train.runs import DONE, FAILED, RUNNING, STOPPED, Run
from lib.train.statistics import wilson
from lib.train.trackers import Tracker, open_trackers
from lib.train.training import BEST, Training

LINES = 2000  # of figures a run keeps for its curves; TensorBoard has every step


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a run needs beside its recipe: the data, a folder for caches, and what the machine's owner allows.

    ``processes`` is the number that a launcher started, ``main`` whether this is the one that writes.
    """

    data: DataSet
    cache: Path
    trackers: Sequence[str] = ("tensorboard",)
    backbones: tuple[str, ...] = ()
    processes: int = 1
    main: bool = True


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def conduct(run: Run, recipe: Recipe, place: Place, *, resume: bool = False) -> Iterator[Event]:
    """Yields the training's events. The record ends as done, failed or (where the caller stops early) stopped.

    Raises WorkbenchError as the training does; JobFailed where another process works on the run.
    """
    if not place.main:
        yield from _conduct(run, recipe, place, resume)
        return
    with run.lock():
        run.update(status=RUNNING, error="")
        try:
            yield from _conduct(run, recipe, place, resume)
        except (GeneratorExit, KeyboardInterrupt):
            run.update(status=STOPPED)
            raise
        except WorkbenchError as error:
            run.update(status=FAILED, error=error.message)
            raise
        except BaseException as error:
            memory = isinstance(error, MemoryError) or "allocate memory" in str(error)
            run.update(status=FAILED, error="out of memory" if memory else f"it failed inside ({type(error).__name__})")
            if memory:
                raise MemoryError from error
            raise


def _conduct(run: Run, recipe: Recipe, place: Place, resume: bool) -> Iterator[Event]:
    import torch

    began = time.monotonic()
    before = float(run.read().get("seconds") or 0.0) if resume else 0.0
    recipe = replace(recipe, threads=recipe.threads or cores())
    torch.set_num_threads(recipe.threads)
    yield Stage(words="Reading the pictures")
    pictures = pixels(place.data, recipe.image_size, place.cache, workers=recipe.threads)
    split = place.data.split(recipe.validation, recipe.seed)
    tracker = _Later(place.trackers if place.main else (), run, resume)
    training = Training(
        recipe=recipe,
        pixels=pictures,
        labels=np.array([item.label for item in place.data.items], dtype=np.int64),
        classes=tuple(place.data.classes),
        split=split,
        folder=run.folder,
        cache=place.cache,
        fingerprint=place.data.fingerprint,
        tracker=tracker,
        resume=resume,
        backbones=place.backbones,
        processes=place.processes,
    )
    keeper = _Keeper(run, training, place)
    try:
        if place.main and not resume:
            tracker.log(tracked.beginning(recipe, place.data, split), 0)
        for event in framework(recipe.framework).train(training):
            if place.main:
                keeper.take(event, before + time.monotonic() - began)
            yield event
        if place.main:
            yield Stage(words="Evaluating the best epoch")
            classifier = framework(recipe.framework).load(recipe, training.classes, run.folder, place.backbones)
            parts = predict(classifier, training)
            keeper.finish(parts, before + time.monotonic() - began)
            yield Stage(words="Drawing what the trackers show")
            result = run.read()["result"]
            tracker.log(tracked.ending(classifier, parts, training, result), keeper.step)
            run.update(status=DONE, seconds=round(before + time.monotonic() - began, 3))
    finally:
        tracker.close()


def predict(classifier: Any, training: Training) -> dict[str, Predictions]:
    """Of the validation pictures and, where the data set has some, of the test pictures."""
    found = {}
    for name, part in (("validation", training.split.val), ("test", training.split.test)):
        if part:
            at = np.asarray(part)
            found[name] = Predictions(at, training.labels[at], classifier.probabilities(training.pixels[at]))
    return found


class _Keeper:
    """Writes what happens into the record and the run's figures, and scalars to the trackers."""

    def __init__(self, run: Run, training: Training, place: Place) -> None:
        self.run, self.training, self.place = run, training, place
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
        self.run.forget_after(len(event.history))
        split = self.training.split
        self.run.update(
            weights={"source": event.source, "sha256": event.sha256, "parameters": event.parameters},
            environment=record.environment(
                self.training.recipe.threads, torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
            ),
            split={"train": len(split.train), "validation": len(split.val), "test": len(split.test), "sha256": digest(split)},
            epochs=self.epochs,
        )

    def _step(self, event: Step) -> None:
        self.step = event.step
        values = {
            "loss/step": event.loss,
            "learning_rate": event.learning_rate,
            "pictures_per_second": event.pictures_per_second,
        }
        self.training.tracker.log(values, event.step)
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
        self.training.tracker.log(values, event.step)
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
            changes["result"] = _result({"validation": validation}, event.epoch)
        self.run.update(**changes)

    def finish(self, parts: Mapping[str, Predictions], seconds: float) -> None:
        finish(self.run, parts, next((e["epoch"] for e in reversed(self.epochs) if e["best"]), 0), seconds)


def finish(run: Run, parts: Mapping[str, Predictions], epoch: int, seconds: float) -> None:
    """Predictions, result and the files' sha256 into the run."""
    evaluation.save(run.folder / evaluation.FILE, dict(parts))
    result = _result({name: part.result() for name, part in parts.items()}, epoch)
    files = record.files(run.folder, (BEST, evaluation.FILE))
    run.update(result=result, files=files, seconds=round(seconds, 3))


def _result(parts: dict[str, dict[str, Any]], epoch: int) -> dict[str, Any]:
    """The test pictures' accuracy where there are some, else the validation pictures', on which the epoch was chosen."""
    on = "test" if "test" in parts else "validation"
    return {"on": on, "epoch": epoch, **parts[on], "parts": parts}


def digest(split: Split) -> str:
    import hashlib

    return hashlib.sha256(repr((split.train, split.val, split.test)).encode()).hexdigest()


class _Later:
    """Trackers that open with the first value, because a resumed run knows its first step only then."""

    def __init__(self, names: Sequence[str], run: Run, resume: bool) -> None:
        self.names, self.run, self.resume = names, run, resume
        self._tracker: Tracker | None = None

    def log(self, values: Mapping[str, Any], step: int) -> None:
        if self._tracker is None:
            self._tracker = open_trackers(self.names, self.run.folder, self.run.id, step if self.resume else 0)
        self._tracker.log(values, step)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
