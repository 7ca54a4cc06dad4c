"""Estimate the seconds of a conversion from earlier ones on this machine, and the megabytes to install first.

The times are kept in a JSON file in the app's data folder: edge -> the latest [bytes of the source, seconds].
"""

from __future__ import annotations

import json
import math
import os
import statistics
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.convert import environments
from lib.convert.edges import edges
from lib.convert.formats import APP
from lib.convert.service import catalogue

NAME, REST = "convert-times.json", "rest"  # time outside the route's steps: admission, proof, packaging
REST_SECONDS = 5.0  # default until there is a measurement
MAX_TIMES, NEIGHBOURS, MAX_BYTES = 12, 3, 1 << 20
FIXED_COST = 20e6  # bytes of a source that take as long as the fixed part (starting tools, a dozen runs)


class Estimates:
    """Reads and records the times in ``folder``, the app's data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._times: dict[str, list[list[float]]] | None = None

    def targets(self, format: str, size: int) -> list[dict[str, Any]]:
        """Return ``catalogue.targets`` with ``seconds`` of the whole conversion, ``measured`` (whether all steps were
        measured on this machine) and ``install_mb`` (megabytes to install first). ``size``: of the source, in bytes."""
        rows = []
        for row in catalogue.targets(format):
            steps = [edges()[hop] for hop in zip(row["route"], row["route"][1:], strict=False)]
            times = [self._seconds(f"{e.source} {e.target}", size) for e in steps]
            rest = self._seconds(REST, size)
            total = sum(e.seconds if s is None else s for e, s in zip(steps, times, strict=True))
            estimate = {"seconds": total + (REST_SECONDS if rest is None else rest), "measured": None not in times}
            rows.append(row | estimate | {"install_mb": self._install(e.environment for e in steps)})
        return rows

    def table(self) -> list[dict[str, Any]]:
        """Return ``catalogue.table`` with ``install_mb``."""
        return [row | {"install_mb": self._install([row["environment"]])} for row in catalogue.table()]

    def note(self, size: int, route: Iterable[dict[str, Any]], total: float) -> None:
        """Record the times of a conversion. ``route``: as in a report; ``total``: seconds. Write errors are ignored."""
        with self._lock:
            times, rest = self._read(), total
            for hop in route:
                rest -= hop["seconds"]
                times.setdefault(f"{hop['source']} {hop['target']}", []).append([size, round(hop["seconds"], 2)])
            times.setdefault(REST, []).append([size, round(max(rest, 0.1), 2)])
            for name in times:
                times[name] = times[name][-MAX_TIMES:]
            with suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                temporary = self._folder / f"{NAME}.{os.getpid()}"
                temporary.write_text(json.dumps(times))
                temporary.replace(self._folder / NAME)

    def _seconds(self, step: str, size: int) -> float | None:
        """Return the median over the conversions nearest in size, preferring newer ones. None if there are none.

        A median, because the first conversion after a start also loads its tools.
        """
        with self._lock:
            ratios = [
                ((size + FIXED_COST) / (bytes_ + FIXED_COST), seconds)
                for bytes_, seconds in reversed(self._read().get(step, []))
            ]
        nearest = sorted(ratios, key=lambda one: abs(math.log(one[0])))[:NEIGHBOURS]
        scaled = [seconds * ratio for ratio, seconds in nearest]
        return statistics.median(scaled) if scaled else None

    def _read(self) -> dict[str, list[list[float]]]:
        """Return the recorded times. The caller must hold the lock. A damaged file counts as empty."""
        if self._times is None:
            self._times = {}
            path = self._folder / NAME
            with suppress(OSError, ValueError, TypeError, AttributeError):
                if path.stat().st_size <= MAX_BYTES:
                    recorded = json.loads(path.read_text())
                    self._times = {str(k): [[float(a), float(b)] for a, b in pairs] for k, pairs in recorded.items()}
        return self._times

    def _install(self, names: Iterable[str]) -> int:
        """Return the disk space, in megabytes, of the environments that are not installed yet."""
        folder = self._folder / "environments"
        missing = [n for n in dict.fromkeys(names) if n != APP and not environments.ready(n, folder)]
        return sum(environments.find(n).megabytes for n in missing)
