"""Measures the latency of several models, running them in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

SECONDS, MIN_RUNS, MAX_RUNS = 0.25, 5, 50  # timing budget per model, and limits on the number of runs
STEADY = 0.5  # interquartile range / median above which other load disturbed the measurement


def measured(calls: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], bool]:
    """Returns each call's median latency in milliseconds, and whether the times are steady enough to compare.

    The calls take turns, so that other load on the machine slows all of them. Multi-threaded models suffer more from it, so
    unsteady medians say more about the machine than about the models.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    start = time.perf_counter()
    for k in range(MAX_RUNS):
        if k >= MIN_RUNS and time.perf_counter() - start > SECONDS * len(calls):
            break
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - begun))
    quartiles = {name: np.percentile(samples, (25, 50, 75)) for name, samples in times.items()}
    steady = all(high - low <= STEADY * middle for low, middle, high in quartiles.values())
    return {name: float(middle) for name, (_, middle, _) in quartiles.items()}, steady
