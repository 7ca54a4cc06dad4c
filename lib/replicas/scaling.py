"""When there should be more replicas, and when fewer. Pure: no clock, no replicas.

A new replica takes half a minute and more until it has its model, so one is added soon and taken away late (the
figures are those of Ray Serve's own autoscaling, which counts requests where this counts rows).
"""

from __future__ import annotations

SCALE_SECONDS = 1.0  # between two decisions
FULL = 0.7  # share of all rows that should be taken
UP_SECONDS, DOWN_SECONDS = 5.0, 300.0  # as long must it hold


class Scaler:
    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self._high: float | None = None  # since when more are wanted
        self._low: float | None = None

    def decide(self, count: int, demand: float, now: float) -> int:
        """1, 0 or -1 replicas more than ``count``. ``demand``: how many full batches run and wait; ``now`` in seconds."""
        high = demand > FULL * count and count < self._most
        low = demand < FULL * (count - 1) and count > self._least
        self._high = (self._high if self._high is not None else now) if high else None
        self._low = (self._low if self._low is not None else now) if low else None
        if self._high is not None and now - self._high >= UP_SECONDS:
            self._high = None
            return 1
        if self._low is not None and now - self._low >= DOWN_SECONDS:
            self._low = now  # one at a time
            return -1
        return 0
