"""One run from its data to its result: trains with the recipe's framework, evaluates, tells the trackers, keeps the record.

The record says "running" from the start. A process that is killed leaves it so; ``lib/train/runs.py`` shows such a run as
interrupted, and ``conduct(resume=True)`` goes on with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import WorkbenchError
from lib.train import record, shown, tracked
from lib.train.data import DataSet
from lib.train.evaluation import Predictions
from lib.train.events import Event, Stage
from lib.train.frameworks import framework
from lib.train.keeper import Keeper, Later, result_of
from lib.train.pixel_cache import pixels
from lib.train.recipe import Recipe
from lib.train.runs import DONE, EVALUATION, FAILED, RUNNING, STOPPED, Run
from lib.train.training import BEST, Training


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
    tracker = Later(place.trackers if place.main else (), run)
    training = _training(run, recipe, place, tracker, resume)
    keeper = Keeper(run, training, tracker)
    try:
        if place.main and not resume:
            tracker.log(tracked.beginning(recipe, place.data, training.split), 0)
        for event in framework(recipe.framework).train(training):
            if place.main:
                keeper.take(event, before + time.monotonic() - began)
            yield event
        if place.main:
            yield Stage(words="Evaluating the best epoch")
            classifier = framework(recipe.framework).load(recipe, training.classes, run.folder, place.backbones)
            parts = predict(classifier, training)
            finish(run, place.data, training.pixels, parts)
            yield Stage(words="Drawing what the trackers show")
            result = run.read()["result"]
            tracker.log(tracked.ending(classifier, parts, training, result), keeper.step)
            run.update(status=DONE, seconds=round(before + time.monotonic() - began, 3))
    finally:
        tracker.close()


def _training(run: Run, recipe: Recipe, place: Place, tracker: Later, resume: bool = False) -> Training:
    pictures = pixels(place.data, recipe.image_size, place.cache, workers=recipe.threads)
    return Training(
        recipe=recipe,
        pixels=pictures,
        labels=np.array([item.label for item in place.data.items], dtype=np.int64),
        classes=tuple(place.data.classes),
        split=place.data.split(recipe.validation, recipe.seed),
        folder=run.folder,
        cache=place.cache,
        fingerprint=place.data.fingerprint,
        tracker=tracker,
        resume=resume,
        backbones=place.backbones,
        processes=place.processes,
    )


def predict(classifier: Any, training: Training) -> dict[str, Predictions]:
    """Of the validation pictures and, where the data set has some, of the test pictures."""
    found = {}
    for name, part in (("validation", training.split.val), ("test", training.split.test)):
        if part:
            at = np.asarray(part)
            found[name] = Predictions(at, training.labels[at], classifier.probabilities(training.pixels[at]))
    return found


def finish(run: Run, data: DataSet, pictures: np.ndarray, parts: Mapping[str, Predictions]) -> None:
    """Writes the result, every evaluated picture, and the sha256 of the run's files."""
    shown.write(run.folder, data, dict(parts), pictures)
    epochs = run.read().get("epochs") or []
    best = next((epoch["epoch"] for epoch in reversed(epochs) if epoch["best"]), 0)
    result = result_of({name: part.result() for name, part in parts.items()}, best)
    run.update(result=result, files=record.files(run.folder, (BEST, EVALUATION)))


def finish_stopped(run: Run, place: Place) -> dict[str, Any]:
    """Evaluates the best epoch of a run that was stopped; returns the record. Raises JobFailed where no epoch ended."""
    import torch

    record = run.read()
    recipe = replace(Recipe.parse(record["recipe"]), threads=(record.get("environment") or {}).get("threads") or cores())
    torch.set_num_threads(recipe.threads)
    with run.lock():
        training = _training(run, recipe, place, Later((), run))
        classifier = framework(recipe.framework).load(recipe, training.classes, run.folder, place.backbones)
        finish(run, place.data, training.pixels, predict(classifier, training))
    return run.read()
