"""Graceful shutdown: running pictures may finish, and pending responses are sent, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from lib import log

from .request_middleware import Traffic

DRAIN_SECONDS = 30.0  # in total; the host's grace period must be longer, see docs/operate.md
ANSWER_SECONDS = 2.0  # of that, for pending responses after the tabs are drained
PAUSE = 0.05


def drain(tabs: Iterable[Any], traffic: Traffic, seconds: float = DRAIN_SECONDS) -> None:
    """Drains tabs that have ``drain(seconds)``, then waits for pending responses.

    Does not wait for jobs (conversions, trainings), which may take hours.
    """
    began = time.monotonic()
    log.event("draining", under_way=traffic.under_way)
    for tab in tabs:
        if hasattr(tab, "drain"):
            tab.drain(max(0.0, seconds - (time.monotonic() - began)))
    deadline = min(began + seconds, time.monotonic() + ANSWER_SECONDS)
    while traffic.under_way and time.monotonic() < deadline:
        time.sleep(PAUSE)
    log.event("stopped", seconds=round(time.monotonic() - began, 3), unanswered=traffic.under_way)
