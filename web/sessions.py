"""Limits the state of Gradio sessions: those without a connection are removed first.

Gradio only drops a state when there are too many, the least recently used first, which may belong to a page that is
still open. A program that polls every second creates a session with each call, often without ever connecting, so its
disconnect is never noticed.
"""

from __future__ import annotations

import datetime
import threading
from collections import Counter
from typing import Any

# The state of a session takes 0.4 MB with all tabs.
MAX_SESSIONS = 500  # in total; enforced by Gradio
GONE = 50  # without a connection; clients may reconnect
IDLE = datetime.timedelta(seconds=60)  # a call may be about to use states younger than that


class Sessions:
    """``connected`` counts the open connections of each session; the request middleware maintains it."""

    def __init__(self, gone: int = GONE, idle: datetime.timedelta = IDLE) -> None:
        self.connected: Counter[str] = Counter()
        self._gone, self._idle = gone, idle
        self._lock = threading.Lock()

    def leave(self, session: str, states: Any) -> None:
        """Called while a session disconnects, when it is still counted. Removes idle states without a connection.

        ``states`` is Gradio's StateHolder.
        """
        now = datetime.datetime.now()
        with self._lock, states.lock:  # session_data is ordered by last use
            offline = [key for key in states.session_data if self.connected[key] <= (key == session)]
            for key in offline[: max(0, len(offline) - self._gone)]:
                if now - states.time_last_used.get(key, now) >= self._idle:
                    del states.session_data[key]
                    states.time_last_used.pop(key, None)
