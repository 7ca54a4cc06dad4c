"""A sequence of jobs with the interface of one job: events, and a cancel that ends all of them.

It has the methods of ``lib.jobs.Job``, so code that follows jobs can follow it, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from lib.errors import Cancelled
from lib.jobs import Progress, Result

Steps = Generator[Progress, None, dict[str, Any]]


class Step(Protocol):
    """A job, or work of several."""

    def events(self) -> Iterator[Progress | Result]: ...
    def cancel(self) -> None: ...


class Work:
    """``steps`` is given this object, yields Progress and returns the result."""

    def __init__(self, steps: Callable[[Work], Steps]) -> None:
        self._steps, self._lock = steps, threading.Lock()
        self._step: Step | None = None
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """From any thread. Harmless when it has ended."""
        with self._lock:
            self._cancelled.set()
            step = self._step
        if step is not None:
            step.cancel()

    def events(self) -> Iterator[Progress | Result]:
        """Progress and, last, the Result; leaving early cancels. Raises what the steps raise."""
        try:
            yield Result((yield from self._steps(self)))
        finally:
            self.cancel()

    def result(self) -> dict[str, Any]:
        for event in self.events():
            if isinstance(event, Result):
                return event.value
        raise AssertionError("work ends with a result or an error")

    def follow(self, start: Callable[[], Step], stage: str, begin: float, end: float) -> Steps:
        """Its result. Its own shares are spread over ``begin`` to ``end`` of the whole; its stages come behind ``stage``."""
        with self._lock:
            if self.cancelled:
                raise Cancelled()
            self._step = step = start()
        share = begin
        for event in step.events():
            if isinstance(event, Result):
                return event.value
            share = max(share, begin + (end - begin) * (event.share or 0.0))
            yield Progress(f"{stage}: {event.stage}" if stage else event.stage, round(share, 3))
        raise AssertionError("a step ends with a result or an error")
