"""Experiment trackers behind one interface, ``log(values, step)`` and ``close()``.

    with_all = open_trackers(["tensorboard"], folder=runs / run, run=run)
    with_all.log({"train/loss": 0.7, "weights/conv_stem": Histogram.of(weight)}, step=1)
    with_all.close()

A value is a number (a scalar) or one of ``values.KINDS``. To add a tracker, add a file to this folder with a function
decorated with ``@register(name)``. Importing this package does not import torch, tensorboard or trackio. Trackers are
independent of recipes, datasets and the training loop.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue
from lib.train.trackers.registry import OPENERS, Opener, Tracker, register
from lib.train.trackers.values import (
    KINDS,
    Embeddings,
    Graph,
    Histogram,
    HyperParameters,
    Picture,
    PrecisionRecall,
    Text,
    number,
)

__all__ = [
    "KINDS",
    "Embeddings",
    "Graph",
    "Histogram",
    "HyperParameters",
    "Picture",
    "PrecisionRecall",
    "Text",
    "Tracker",
    "available",
    "open_trackers",
    "register",
]


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)


def available() -> tuple[str, ...]:
    """Returns the names that ``open_trackers`` accepts; a tracker may still require a package that is not installed."""
    _load()
    return tuple(sorted(OPENERS))


def open_trackers(names: Sequence[str], folder: Path, run: str, first_step: int = 0) -> Tracker:
    """Returns a tracker that forwards to each of ``names``; without names, nothing is kept.

    ``folder`` is the run's own and may not exist yet. ``first_step`` is the first step that will be logged; what an
    interrupted run logged from that step on is dropped. After a checkpoint at step 40 it is 41. Raises InvalidValue for an
    unknown or repeated name, and if a tracker's package is not installed.
    """
    if first_step < 0:
        raise InvalidValue("first_step", first_step, "0 or more")
    openers = [_find(name) for name in names]
    if len(set(names)) < len(names):
        raise InvalidValue("trackers", list(names), "each name once")
    with ExitStack() as opened:
        trackers = []
        for opener in openers:
            tracker = opener(folder, run, first_step)
            opened.callback(tracker.close)  # in case a later one fails to open
            trackers.append(tracker)
        opened.pop_all()
    return Several(trackers)


def _find(name: str) -> Opener:
    if name not in available():
        raise InvalidValue("tracker", name, ", ".join(available()))
    return OPENERS[name]


class Several:
    """Forwards to all trackers. Checks the value types once, so that an invalid value fails with any tracker."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Raises TypeError for a value that is neither a number nor one of ``KINDS``."""
        checked = {tag: value if isinstance(value, KINDS) else number(tag, value) for tag, value in values.items()}
        for tracker in self._trackers:
            tracker.log(checked, step)

    def close(self) -> None:
        """Close every tracker, even if one fails. A second call does nothing."""
        with ExitStack() as stack:
            while self._trackers:
                stack.callback(self._trackers.pop().close)
