"""Gradio's sessions, whose state it keeps: those that nobody is connected to make room first.

Gradio drops a state only when there are too many, the one used longest ago first, which may be a page that somebody
reads. A program that asks every second is a session each time, often without ever connecting, so nobody sees it leave.
"""

from __future__ import annotations

import datetime
import threading
from collections import Counter
from typing import Any

# A session's state takes 0.4 MB with all tabs.
MAX_SESSIONS = 500  # of all together, which Gradio sees to
GONE = 50  # of those without a connection: it may come back
IDLE = datetime.timedelta(seconds=60)  # before that, a call of theirs may be about to use it


class Sessions:
    """``connected`` counts each session's open connections; the middleware at the door keeps it."""

    def __init__(self, gone: int = GONE, idle: datetime.timedelta = IDLE) -> None:
        self.connected: Counter[str] = Counter()
        self._gone, self._idle = gone, idle
        self._lock = threading.Lock()

    def leave(self, session: str, states: Any) -> None:
        """Its connection ends now, though it still counts; ``states`` is Gradio's StateHolder."""
        now = datetime.datetime.now()
        with self._lock, states.lock:  # session_data is in the order of last use
            gone = [one for one in states.session_data if self.connected[one] <= (one == session)]
            for one in gone[: max(0, len(gone) - self._gone)]:
                if now - states.time_last_used.get(one, now) >= self._idle:
                    del states.session_data[one]
                    states.time_last_used.pop(one, None)
