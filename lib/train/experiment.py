"""Runs one experiment end to end: train, evaluate, write the record and log to the trackers.

The record says "running" from the start and keeps saying so if the process is killed. ``lib/train/runs.py`` then reports
the run as interrupted, and ``run_training(resume=True)`` continues it.
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
from lib.train import evaluation_file, provenance, run_summaries
from lib.train.data import DataSet
from lib.train.evaluation import Predictions, RunResult
from lib.train.events import Event, Stage
from lib.train.frameworks import framework
from lib.train.pixel_cache import pixels
from lib.train.recipe import Recipe
from lib.train.run_writer import RunWriter
from lib.train.runs import DONE, EVALUATION, FAILED, RUNNING, STOPPED, Run
from lib.train.trackers.lazy import LazyTracker
from lib.train.training import BEST, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The environment of a run: the dataset, a cache folder, and the trackers and backbones that the settings allow.

    ``processes`` is the world size of the launcher; ``main`` is True in the process that writes.
    """

    data: DataSet
    cache: Path
    trackers: Sequence[str] = ("tensorboard",)
    backbones: tuple[str, ...] = ()
    processes: int = 1
    main: bool = True


def cores() -> int:
    """Returns the number of CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_training(run: Run, recipe: Recipe, context: RunContext, *, resume: bool = False) -> Iterator[Event]:
    """Train and yield the events. The record ends as done, failed, or stopped if the caller stops early.

    Raises WorkbenchError as the training does, and JobFailed if another process works on the run.
    """
    if not context.main:
        yield from _train(run, recipe, context, resume)
        return
    with run.lock():
        run.update(status=RUNNING, error="")
        try:
            yield from _train(run, recipe, context, resume)
        except (GeneratorExit, KeyboardInterrupt):
            run.update(status=STOPPED)
            raise
        except WorkbenchError as error:
            run.update(status=FAILED, error=error.message)
            raise
        except BaseException as error:
            out_of_memory = isinstance(error, MemoryError) or "allocate memory" in str(error)
            run.update(status=FAILED, error="out of memory" if out_of_memory else f"internal error ({type(error).__name__})")
            if out_of_memory:
                raise MemoryError from error
            raise


def _train(run: Run, recipe: Recipe, context: RunContext, resume: bool) -> Iterator[Event]:
    import torch

    began = time.monotonic()
    previous_seconds = run.record().seconds if resume else 0.0
    recipe = replace(recipe, threads=recipe.threads or cores())
    torch.set_num_threads(recipe.threads)
    yield Stage(words="Reading the pictures")
    tracker = LazyTracker(context.trackers if context.main else (), run.folder, run.id)
    training = _training(run, recipe, context, tracker, resume)
    writer = RunWriter(run, training, tracker)
    try:
        if context.main and not resume:
            tracker.log(run_summaries.start_summaries(recipe, context.data, training.split), 0)
        for event in framework(recipe.framework).train(training):
            if context.main:
                writer.write(event, previous_seconds + time.monotonic() - began)
            yield event
        if context.main:
            yield Stage(words="Evaluating the best epoch")
            classifier = framework(recipe.framework).load(recipe, training.classes, run.folder, context.backbones)
            parts = predict(classifier, training)
            result = write_result(run, context.data, training.pixels, parts)
            yield Stage(words="Drawing figures for the trackers")
            tracker.log(run_summaries.result_summaries(classifier, parts, training, result), writer.step)
            run.update(status=DONE, seconds=round(previous_seconds + time.monotonic() - began, 3))
    finally:
        tracker.close()


def _training(run: Run, recipe: Recipe, context: RunContext, tracker: LazyTracker, resume: bool = False) -> Training:
    pictures = pixels(context.data, recipe.image_size, context.cache, workers=recipe.threads)
    return Training(
        recipe=recipe,
        pixels=pictures,
        labels=np.array([item.label for item in context.data.items], dtype=np.int64),
        classes=tuple(context.data.classes),
        split=context.data.split(recipe.validation, recipe.seed),
        folder=run.folder,
        cache=context.cache,
        fingerprint=context.data.fingerprint,
        tracker=tracker,
        resume=resume,
        backbones=context.backbones,
        processes=context.processes,
    )


def predict(classifier: Any, training: Training) -> dict[str, Predictions]:
    """Predict the validation images and, if the dataset has any, the test images; by split."""
    predictions = {}
    for name, part in (("validation", training.split.val), ("test", training.split.test)):
        if part:
            indices = np.asarray(part)
            predictions[name] = Predictions(
                indices, training.labels[indices], classifier.probabilities(training.pixels[indices])
            )
    return predictions


def write_result(run: Run, data: DataSet, pictures: np.ndarray, parts: Mapping[str, Predictions]) -> RunResult:
    """Write the result, the evaluation of every image and the SHA-256 of the run's files."""
    evaluation_file.write(run.folder, data, dict(parts), pictures)
    best = next((epoch.epoch for epoch in reversed(run.record().epochs) if epoch.best), 0)
    result = RunResult.of({name: part.result() for name, part in parts.items()}, best)
    files = provenance.files(run.folder, (BEST, EVALUATION))
    run.update(result=asdict(result), files={name: asdict(digest) for name, digest in files.items()})
    return result


def evaluate_stopped(run: Run, context: RunContext) -> dict[str, Any]:
    """Evaluate the best epoch of a stopped run; returns its record as JSON. Raises JobFailed if no epoch was completed."""
    import torch

    recipe = run.record().used_recipe()
    recipe = replace(recipe, threads=recipe.threads or cores())
    torch.set_num_threads(recipe.threads)
    with run.lock():
        training = _training(run, recipe, context, LazyTracker((), run.folder, run.id))
        classifier = framework(recipe.framework).load(recipe, training.classes, run.folder, context.backbones)
        write_result(run, context.data, training.pixels, predict(classifier, training))
    return run.read()
