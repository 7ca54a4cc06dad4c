"""A stop that leaves nobody in the middle of a picture: what runs may end, and answers go out, within some seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from lib import log

from .doors import Traffic

DRAIN_SECONDS = 30.0  # all together; a host that kills sooner needs a longer grace period, see docs/operate.md
ANSWER_SECONDS = 2.0  # of them, for answers once there is nothing to draw
PAUSE = 0.05


def drain(tabs: Iterable[Any], traffic: Traffic, seconds: float = DRAIN_SECONDS) -> None:
    """Tabs that have ``drain(seconds)`` refuse what is new and let end what runs; then the last answers leave.

    A job (a conversion, a training) is not waited for: it may take hours.
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
