"""Runs a sequence of jobs behind the interface of a single job: events, and a cancel that ends all of them.

``Work`` has the methods of ``lib.jobs.Job``, so code that follows a job also follows it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from lib.errors import Cancelled
from lib.jobs import Progress, Result

Steps = Generator[Progress, None, dict[str, Any]]


class Step(Protocol):
    """A Job or Work."""

    def events(self) -> Iterator[Progress | Result]: ...
    def cancel(self) -> None: ...


class Work:
    """Runs the generator ``steps(work)``, which yields Progress and returns the result."""

    def __init__(self, steps: Callable[[Work], Steps]) -> None:
        self._steps, self._lock = steps, threading.Lock()
        self._step: Step | None = None
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Cancels the current step. Thread-safe; does nothing if the work has ended."""
        with self._lock:
            self._cancelled.set()
            step = self._step
        if step is not None:
            step.cancel()

    def events(self) -> Iterator[Progress | Result]:
        """Yields Progress and finally the Result. Closing the iterator early cancels. Raises what the steps raise."""
        try:
            yield Result((yield from self._steps(self)))
        finally:
            self.cancel()

    def result(self) -> dict[str, Any]:
        """Waits for the end and returns the result. Raises like ``events``."""
        for event in self.events():
            if isinstance(event, Result):
                return event.value
        raise AssertionError("work ends with a result or an error")

    def follow(self, start: Callable[[], Step], stage: str, begin: float, end: float) -> Steps:
        """Runs a step and returns its result.

        Maps the step's shares to the range ``begin`` to ``end`` of the whole, and prefixes its stages with ``stage``.
        """
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
