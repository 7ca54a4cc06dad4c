"""Estimates of a conversion: seconds, from earlier conversions on this machine, and megabytes to install first.

The times are in a small JSON file in the app's data folder: edge -> the last [bytes of the source, seconds].
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

NAME, REST = "convert-times.json", "rest"  # time outside of the route's steps: admitting, the proof, packing
REST_SECONDS = 5.0  # used until there is a measurement
MAX_TIMES, NEIGHBOURS, MAX_BYTES = 12, 3, 1 << 20
FIXED_COST = 20e6  # bytes of a source that take as long as the fixed part: starting tools, a dozen runs


class Estimates:
    """``folder`` is the app's data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._times: dict[str, list[list[float]]] | None = None

    def targets(self, format: str, size: int) -> list[dict[str, Any]]:
        """``catalogue.targets`` with ``seconds`` of the whole conversion, ``measured`` (True: from times on this machine)
        and ``install_mb``, megabytes that are installed first."""
        out = []
        for row in catalogue.targets(format):
            steps = [edges()[hop] for hop in zip(row["route"], row["route"][1:], strict=False)]
            found = [self._seconds(f"{e.source} {e.target}", size) for e in steps]
            rest = self._seconds(REST, size)
            known = sum(e.seconds if s is None else s for e, s in zip(steps, found, strict=True))
            about = {"seconds": known + (REST_SECONDS if rest is None else rest), "measured": None not in found}
            out.append(row | about | {"install_mb": self._install(e.environment for e in steps)})
        return out

    def table(self) -> list[dict[str, Any]]:
        """``catalogue.table`` with ``install_mb``."""
        return [row | {"install_mb": self._install([row["environment"]])} for row in catalogue.table()]

    def note(self, size: int, route: Iterable[dict[str, Any]], total: float) -> None:
        """Records the times of a conversion. ``route``: as in a report; ``total``: seconds. A full disk is ignored."""
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
                fresh = self._folder / f"{NAME}.{os.getpid()}"
                fresh.write_text(json.dumps(times))
                fresh.replace(self._folder / NAME)

    def _seconds(self, step: str, size: int) -> float | None:
        """The median over the conversions nearest in size, newer ones first; None without any.

        The median, because the first conversion after a start also loads its tools.
        """
        with self._lock:
            found = [
                ((size + FIXED_COST) / (bytes_ + FIXED_COST), seconds)
                for bytes_, seconds in reversed(self._read().get(step, []))
            ]
        near = sorted(found, key=lambda one: abs(math.log(one[0])))[:NEIGHBOURS]
        scaled = [seconds * ratio for ratio, seconds in near]
        return statistics.median(scaled) if scaled else None

    def _read(self) -> dict[str, list[list[float]]]:
        """The caller holds the lock. A damaged file counts as empty."""
        if self._times is None:
            self._times = {}
            path = self._folder / NAME
            with suppress(OSError, ValueError, TypeError, AttributeError):
                if path.stat().st_size <= MAX_BYTES:
                    given = json.loads(path.read_text())
                    self._times = {str(k): [[float(a), float(b)] for a, b in some] for k, some in given.items()}
        return self._times

    def _install(self, names: Iterable[str]) -> int:
        """Megabytes on the disk of the environments that are not there yet."""
        folder = self._folder / "environments"
        missing = [n for n in dict.fromkeys(names) if n != APP and not environments.ready(n, folder)]
        return sum(environments.find(n).megabytes for n in missing)
