"""Decide when to add and remove replicas. This module has no clock and no replicas.

A new replica needs half a minute or more to load its model, so replicas are added early and removed late. The
thresholds are those of Ray Serve's autoscaling, which counts requests where this counts rows.
"""

from __future__ import annotations

SCALE_SECONDS = 1.0  # interval between decisions
FULL = 0.7  # target share of rows in use
UP_SECONDS, DOWN_SECONDS = 5.0, 300.0  # how long the demand must stay high or low


class Scaler:
    """Decides on the number of replicas between ``min_replicas`` and ``max_replicas``."""

    def __init__(self, min_replicas: int, max_replicas: int) -> None:
        self._min_replicas, self._max_replicas = min_replicas, max_replicas
        self._high: float | None = None  # since when more are wanted
        self._low: float | None = None

    def decide(self, count: int, demand: float, now: float) -> int:
        """Return 1 to add a replica to the current ``count``, -1 to remove one, else 0.

        ``demand``: the running and waiting work in full batches; ``now``: in seconds.
        """
        high = demand > FULL * count and count < self._max_replicas
        low = demand < FULL * (count - 1) and count > self._min_replicas
        self._high = (self._high if self._high is not None else now) if high else None
        self._low = (self._low if self._low is not None else now) if low else None
        if self._high is not None and now - self._high >= UP_SECONDS:
            self._high = None
            return 1
        if self._low is not None and now - self._low >= DOWN_SECONDS:
            self._low = now  # one at a time
            return -1
        return 0
