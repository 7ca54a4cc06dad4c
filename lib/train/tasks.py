"""Training jobs that run in a child process: one function per task, JSON in and out (``lib/jobs.py``).

``run`` is a run's folder, ``data`` the folder of its dataset. The app creates both; clients never see or send paths.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.settings import prepare_library
from lib.train import experiment
from lib.train.data import DataSet
from lib.train.events import Epoch, Event, Stage, Step
from lib.train.recipe import Recipe
from lib.train.reproduce import verdict
from lib.train.runs import Run

Progress = Callable[..., None]
PAUSE = 0.2  # minimum seconds between two progress messages about steps


def _context(data: str, trackers: list[str], backbones: list[str]) -> experiment.RunContext:
    pictures = DataSet.load(Path(data))
    return experiment.RunContext(data=pictures, cache=pictures.cache, trackers=tuple(trackers), backbones=tuple(backbones))


def train(
    progress: Progress,
    run: str,
    data: str,
    recipe: dict[str, Any],
    resume: bool = False,
    trackers: list[str] = ["tensorboard"],  # noqa: B006  (JSON; never changed)
    backbones: list[str] = [],  # noqa: B006
) -> dict[str, Any]:
    """Train or resume the run in a folder created by the app; returns its record."""
    prepare_library(KERAS_BACKEND="torch")
    target, last = Run(Path(run)), 0.0
    for event in experiment.run_training(target, Recipe.parse(recipe), _context(data, trackers, backbones), resume=resume):
        if isinstance(event, Step) and time.monotonic() - last < PAUSE:
            continue
        last = time.monotonic()
        progress(*words(event))
    return target.read()


def words(event: Event) -> tuple[str, float | None]:
    """Returns an event as a stage text and the completed share."""
    if isinstance(event, Step):
        speed = f"{event.pictures_per_second:.0f} pictures/s"
        return (
            f"Epoch {event.epoch}, step {event.step} of {event.steps}, loss {event.loss:.3f}, {speed}",
            event.step / event.steps,
        )
    if isinstance(event, Epoch):
        return f"Epoch {event.epoch}: {event.validation_accuracy:.1%} of the validation pictures are correct", None
    if isinstance(event, Stage):
        return event.words, event.share
    return "The network is built", None


def reproduce(progress: Progress, run: str, again: str, data: str, recipe: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Train ``again`` with the recipe of ``run`` and compare them; returns a ``Reproduction``."""
    train(progress, again, data, recipe, **more)
    reproduction = asdict(verdict(Run(Path(run)), Run(Path(again))))
    Run(Path(again)).update(again=reproduction)
    return reproduction


def evaluate(progress: Progress, run: str, data: str, backbones: list[str] = []) -> dict[str, Any]:  # noqa: B006
    """Evaluate the best epoch of a stopped run; returns its record."""
    prepare_library(KERAS_BACKEND="torch")
    progress("Evaluating the best epoch", 0.1)
    return experiment.evaluate_stopped(Run(Path(run)), _context(data, [], backbones))


def export(progress: Progress, run: str, out: str, backbones: list[str] = []) -> dict[str, Any]:  # noqa: B006
    """Write ``out/model.onnx``; returns an ``OnnxFile``."""
    from lib.train.export import to_onnx

    progress("Exporting to ONNX", 0.2)
    return asdict(to_onnx(Run(Path(run)), Path(out) / "model.onnx", tuple(backbones)))


def samples(progress: Progress, run: str, data: str, out: str) -> dict[str, Any]:
    """Write the run's validation and test images to ``out/samples.zip``; returns a ``SamplesFile``."""
    from lib.train.handover import validation_samples

    progress("Writing the validation pictures", 0.1)
    return asdict(validation_samples(Run(Path(run)), DataSet.load(Path(data)), Path(out)))
