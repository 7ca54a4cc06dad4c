"""Gradio's sessions, whose state it keeps: those whose page or client has gone make room first.

Gradio drops a state only when there are too many, the one used longest ago first, which may be a page that somebody
reads; and a program that asks every second is a session each time.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Any

# A session's state takes 0.4 MB with all tabs.
MOST = 500  # of all together, which Gradio sees to
GONE = 50  # of those that have gone: a connection may come back


class Sessions:
    """``connected`` counts each session's open connections; the middleware at the door keeps it."""

    def __init__(self, gone: int = GONE) -> None:
        self.connected: Counter[str] = Counter()
        self._gone, self._left = gone, OrderedDict[str, None]()
        self._lock = threading.Lock()

    def leave(self, session: str, states: Any) -> None:
        """Its connection has ended; ``states`` is Gradio's StateHolder."""
        with self._lock:
            self._left[session] = None
            self._left.move_to_end(session)
            # the connection that ends just now still counts
            for back in [one for one in self._left if self.connected[one] > (one == session)]:
                del self._left[back]
            while len(self._left) > self._gone:
                oldest, _ = self._left.popitem(last=False)
                with states.lock:
                    states.session_data.pop(oldest, None)
                    states.time_last_used.pop(oldest, None)
