"""Measures the latency of models, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

SECONDS, MIN_RUNS, MAX_RUNS = 0.25, 5, 50  # of timing per model, and runs
STEADY = 0.5  # (third quartile - first quartile) / median, from which on other work disturbed the measurement


def measured(calls: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], bool]:
    """Median milliseconds of each call, and whether the times are steady enough to be compared.

    The calls take turns, so that other load on the machine slows all of them. Threads that wait for one another suffer
    more from it than others, so unsteady medians say more about the machine than about the models.
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
    quartiles = {name: np.percentile(some, (25, 50, 75)) for name, some in times.items()}
    steady = all(high - low <= STEADY * middle for low, middle, high in quartiles.values())
    return {name: float(middle) for name, (_, middle, _) in quartiles.items()}, steady
