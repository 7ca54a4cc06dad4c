"""Opens trackers lazily: a resumed run knows its first step only after its checkpoint is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.train.trackers import Tracker, open_trackers


class LazyTracker:
    """Takes the arguments of ``open_trackers``. Opens with ``open`` or with the first logged values."""

    def __init__(self, names: Sequence[str], folder: Path, run: str) -> None:
        self._names, self._folder, self._run = names, folder, run
        self._tracker: Tracker | None = None

    def open(self, first_step: int) -> None:
        """Open, and drop what an interrupted run logged from ``first_step`` on. Does nothing if already open."""
        if self._tracker is None:
            self._tracker = open_trackers(self._names, self._folder, self._run, first_step)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self.open(0)
        assert self._tracker is not None
        self._tracker.log(values, step)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
