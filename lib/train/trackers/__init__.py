"""Where a training's numbers and pictures go: ``log(values, step)`` and ``close()``, whoever listens.

    with_all = open_trackers(["tensorboard"], folder=runs / run, run=run)
    with_all.log({"train/loss": 0.7, "weights/conv_stem": Histogram.of(weight)}, step=1)
    with_all.close()

A value is a number (a scalar's point) or one of ``values.KINDS``. A new tracker is a new file in this
folder with a function under ``@register(name)``. Importing this package imports neither torch nor
tensorboard nor trackio. A tracker knows nothing of recipes, data sets or the training loop.
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
    for found in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(found.name)


def available() -> tuple[str, ...]:
    """The names that ``open_trackers`` takes; one may still need a package that is not installed."""
    _load()
    return tuple(sorted(OPENERS))


def open_trackers(names: Sequence[str], folder: Path, run: str, first_step: int = 0) -> Tracker:
    """One tracker that passes everything on to each of ``names``; no names: nothing is kept.

    ``folder`` is the run's own and may not exist yet. ``first_step`` is the first step that will be
    logged: what an interrupted run left from there on is dropped. So after a checkpoint of step 40
    it is 41. Raises InvalidValue for an unknown name, for one given twice, and for a tracker whose
    package is missing.
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
            opened.callback(tracker.close)  # should the next one not open
            trackers.append(tracker)
        opened.pop_all()
    return Several(trackers)


def _find(name: str) -> Opener:
    if name not in available():
        raise InvalidValue("tracker", name, ", ".join(available()))
    return OPENERS[name]


class Several:
    """Forwards to all. It checks the kinds once, so that a misspelt value fails whoever listens."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Raises TypeError for a value that is no number and none of ``KINDS``."""
        checked = {tag: value if isinstance(value, KINDS) else number(tag, value) for tag, value in values.items()}
        for tracker in self._trackers:
            tracker.log(checked, step)

    def close(self) -> None:
        """Closes each one, also when an earlier one fails. A second call does nothing."""
        with ExitStack() as stack:
            while self._trackers:
                stack.callback(self._trackers.pop().close)
