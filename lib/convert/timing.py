"""Latency of models, measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

SECONDS, LEAST, MOST = 0.4, 3, 50  # of timing per model, and runs


def median_ms(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median milliseconds of each call; they take turns, so a busy machine is busy for all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    start = time.perf_counter()
    for k in range(MOST):
        if k >= LEAST and time.perf_counter() - start > SECONDS * len(calls):
            break
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - begun))
    return {name: statistics.median(some) for name, some in times.items()}
