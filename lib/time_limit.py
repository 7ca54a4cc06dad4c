"""A limit in time for Python code that may be slow."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooSlow(BaseException):
    """No Exception: operators of the reference evaluator catch those."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Interrupts Python code in the main thread, where jobs run. Raises TooSlow."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
