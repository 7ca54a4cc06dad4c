"""A time limit for Python code that may be slow."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooSlow(BaseException):
    """Derives from BaseException because operators of ONNX's reference evaluator catch Exception."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TooSlow in the block after ``seconds``. Main thread only, where jobs run; interrupts only Python code."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
