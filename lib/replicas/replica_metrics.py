"""Forward a replica's observations of the histograms in ``lib/metrics.py`` to the page.

The page's ``GET /metrics`` must include the steps of other processes. A replica has no registry: its observations are
sent with the next heartbeat and observed again in the page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib import metrics

FORWARDED = ("TICK_SECONDS", "TICK_ROWS", "DECODE_SECONDS", "LOAD_SECONDS")
MAX_OBSERVATIONS = 10_000  # maximum kept until they are sent

Observation = tuple[str, list[str], float]  # the histogram, its labels, the value

_observations: list[Observation] = []
_lock = threading.Lock()


class Recorder:
    """Replacement for a histogram with the methods that the engine uses: ``labels``, ``observe`` and ``time``."""

    def __init__(self, name: str, labels: tuple[str, ...] = ()) -> None:
        self._name, self._labels = name, labels

    def labels(self, *labels: str) -> Recorder:
        return Recorder(self._name, labels)

    def observe(self, value: float) -> None:
        with _lock:
            if len(_observations) < MAX_OBSERVATIONS:
                _observations.append((self._name, list(self._labels), value))

    @contextmanager
    def time(self) -> Iterator[None]:
        start_time = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - start_time)


def record() -> None:
    """Replace the histograms by recorders. Call once in a replica, before its engine is created."""
    for name in FORWARDED:
        setattr(metrics, name, Recorder(name))


def pop_observations() -> list[Observation]:
    """Return the observations since the last call."""
    with _lock:
        observations = list(_observations)
        _observations.clear()
    return observations


def replay(observations: list[Observation]) -> None:
    """Observe them in the page's registry."""
    for name, labels, value in observations:
        if name in FORWARDED:
            if name.startswith("TICK"):  # the labels are limited by the page's list of sizes, not by the replica's
                width, _, height = labels[1].partition("x")
                labels = [labels[0], metrics.size_label(int(width), int(height)) if height else labels[1]]
            getattr(metrics, name).labels(*labels).observe(value)
