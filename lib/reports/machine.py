"""On what a latency was measured: the processor, its cores, and how many threads the runtime took."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any


@cache
def processor() -> str:
    """Its name as the system has it; the kind of machine where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model", "Hardware"))]
    return " ".join((next(filter(None, named), "") or platform.processor() or platform.machine()).split())


def threads() -> int | None:
    """Of this process; None where the system does not say."""
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return None


def described(before: int | None, provider: str) -> dict[str, Any]:
    """``before``: threads before the runtime loaded a model; it starts one a core but for the one that calls it."""
    now = threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    took = None if before is None or now is None else max(1, now - before + 1)
    return {"processor": processor(), "cores": cores, "threads": took, "provider": provider}
