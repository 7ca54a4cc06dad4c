"""What a replica measures and the page shows: observations of the histograms of ``lib/metrics.py``.

The page's ``GET /metrics`` must know of ticks that another process makes. A replica keeps no registry of its own: its
observations travel with the next beat and are made once more in the page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib import metrics

PASSED_ON = ("TICK_SECONDS", "TICK_ROWS", "DECODE_SECONDS", "LOAD_SECONDS")
MAX_KEPT = 10_000  # kept while nobody fetches them

Observation = tuple[str, list[str], float]  # the histogram, its labels, the value

_kept: list[Observation] = []
_lock = threading.Lock()


class Recorder:
    """Stands where a histogram stood; the engine uses ``labels``, ``observe`` and ``time``."""

    def __init__(self, name: str, labels: tuple[str, ...] = ()) -> None:
        self._name, self._labels = name, labels

    def labels(self, *labels: str) -> Recorder:
        return Recorder(self._name, labels)

    def observe(self, value: float) -> None:
        with _lock:
            if len(_kept) < MAX_KEPT:
                _kept.append((self._name, list(self._labels), value))

    @contextmanager
    def time(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - began)


def record() -> None:
    """In a replica, once, before its engine is made."""
    for name in PASSED_ON:
        setattr(metrics, name, Recorder(name))


def take() -> list[Observation]:
    """What was observed since the last call."""
    with _lock:
        found = list(_kept)
        _kept.clear()
    return found


def replay(observations: list[Observation]) -> None:
    """In the page."""
    for name, labels, value in observations:
        if name in PASSED_ON:
            if name.startswith("TICK"):  # the page's own list of sizes counts, not the replica's
                width, _, height = labels[1].partition("x")
                labels = [labels[0], metrics.size_label(int(width), int(height)) if height else labels[1]]
            getattr(metrics, name).labels(*labels).observe(value)
