"""Metrics and the log line of a request: queue time, time to the first preview, outcome. No prompt, no owner."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lib import log, metrics
from lib.errors import Cancelled, ModelUnavailable, QueueFull, WorkbenchError
from lib.origin import current
from lib.text_to_image.events import Done, Event, Failed, Step
from lib.text_to_image.request import Request


class RequestMetrics:
    """Metrics of one ticket, created in the context of its HTTP request. The engine's thread calls the methods."""

    def __init__(self, request: Request, created: float) -> None:
        self.origin, self.created = current.get(), created
        self.replica = ""  # name of the replica that runs the request, if any
        self._model = request.model
        self._began: float | None = None
        self._first: float | None = None

    def begin(self) -> None:
        """Record that the request has left the queue."""
        if self._began is None:
            self._began = time.monotonic() - self.created
            metrics.QUEUE_SECONDS.labels(self._model).observe(self._began)

    def note(self, event: Event, request: Request) -> None:
        """Record an event of the ticket. Called once for each event, including the last."""
        if isinstance(event, Step):
            self.begin()
            if self._first is None and event.preview is not None:
                self._first = time.monotonic() - self.created
                metrics.FIRST_PREVIEW_SECONDS.labels(self._model).observe(self._first)
        elif isinstance(event, Done | Failed):
            self._end("done" if isinstance(event, Done) else outcome(event.error), request)

    def _end(self, ended: str, request: Request) -> None:
        seconds = time.monotonic() - self.created
        metrics.REQUESTS.labels(self._model, self.origin.door, ended).inc()
        if ended == "done":
            metrics.REQUEST_SECONDS.labels(self._model).observe(seconds)
        log.event(
            "picture",
            request=self.origin.id,
            door=self.origin.door,
            model=self._model,
            size=f"{request.width}x{request.height}",
            steps=request.steps,
            outcome=ended,
            replica=self.replica,
            queue_seconds=_rounded(self._began),
            first_preview_seconds=_rounded(self._first),
            seconds=_rounded(seconds),
        )


def outcome(error: WorkbenchError) -> str:
    if isinstance(error, Cancelled):
        return "cancelled"
    return "refused" if isinstance(error, QueueFull | ModelUnavailable) else "failed"


@contextmanager
def refusals(request: Request, names: Sequence[str], default: str) -> Iterator[None]:
    """Count a request that is rejected inside the block, since it gets no ticket."""
    try:
        yield
    except WorkbenchError as error:
        model, origin = request.model or default, current.get()
        model = model if model in names else metrics.OTHER  # visitors can send any text
        metrics.REQUESTS.labels(model, origin.door, "refused").inc()
        log.event(
            "picture",
            request=origin.id,
            door=origin.door,
            model=model,
            steps=request.steps,
            outcome="refused",
            error=type(error).__name__,
        )
        raise


def _rounded(seconds: float | None) -> Any:
    return None if seconds is None else round(seconds, 3)
