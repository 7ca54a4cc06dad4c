"""How fast a model runs: the first run, then percentiles over more of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

LATENCY_SECONDS = 60.0  # runs stop here, and the answer says how many there were
NOISY = 0.5  # of the median, between the 5th and the 95th percentile: other work on the machine, usually


def noisy(milliseconds: np.ndarray) -> bool:
    """Whether times of the same work, [n], are far apart."""
    if len(milliseconds) < 2:
        return False
    low, median, high = np.percentile(milliseconds, (5, 50, 95))
    return bool(high - low > NOISY * median)


def timed(call: Callable[[], Any], runs: int, progress: Callable[..., None]) -> tuple[dict[str, Any], Any]:
    """``first_ms``, ``runs`` that were timed after it, ``latency_ms`` (p5 … p99, min, mean), whether that is ``noisy``, and
    ``warm_up_runs``; and what the first call gave. Where the first takes a minute, it is the timed one."""
    start = time.perf_counter()
    outputs = call()
    first = time.perf_counter() - start
    times = [first] if first > LATENCY_SECONDS else []
    while len(times) < runs and sum(times) < LATENCY_SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        if len(times) % 16 == 0:
            progress(f"Run {len(times)} of {runs}", 0.1 + 0.5 * len(times) / runs)
    milliseconds = np.array(times) * 1000
    marks = {f"p{p}": float(np.percentile(milliseconds, p)) for p in (5, 50, 90, 95, 99)}
    return {
        "first_ms": first * 1000,
        "runs": len(times),
        "latency_ms": marks | {"min": float(milliseconds.min()), "mean": float(milliseconds.mean())},
        "noisy": noisy(milliseconds),
        "warm_up_runs": int(first <= LATENCY_SECONDS),
    }, outputs
