"""Metrics and the log line of a job: kind, outcome and duration. Contains no file names and no messages of tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lib import log, metrics
from lib.errors import Cancelled, InvalidFile, InvalidValue, LimitExceeded, NotFound, QueueFull
from lib.origin import current

LIMITS = {"memory": "memory", "time": "time", "processor time": "time"}


def kind_of(task: str) -> str:
    """Returns ``capability.function`` for ``lib.capability.module:function``. Safe as a label: tasks are a closed set."""
    module, _, function = task.partition(":")
    parts = module.split(".")
    return f"{parts[1] if parts[0] == 'lib' and len(parts) > 1 else parts[-1]}.{function}"


class JobMetrics:
    """Metrics of one job. Create it in the context of the request."""

    def __init__(self, task: str) -> None:
        self.origin, self.kind = current.get(), kind_of(task)
        self._asked = time.monotonic()
        self._began: float | None = None
        self._ended = False

    def begin(self) -> None:
        """Records that the job has started to run."""
        self._began = time.monotonic()

    @contextmanager
    def track_failure(self) -> Iterator[None]:
        """Records the outcome of a job that raises inside the block."""
        try:
            yield
        except BaseException as error:
            self.end(outcome(error))
            raise

    def end(self, ended: str) -> None:
        """Records the outcome. Later calls are ignored, such as that when the iterator is closed after the result."""
        if self._ended:
            return
        self._ended = True
        now = time.monotonic()
        metrics.JOBS.labels(self.kind, ended).inc()
        if self._began is not None:
            metrics.JOB_SECONDS.labels(self.kind).observe(now - self._began)
        log.event(
            "job",
            request=self.origin.id,
            door=self.origin.door,
            kind=self.kind,
            outcome=ended,
            queue_seconds=round((self._began or now) - self._asked, 3),
            seconds=round(now - self._asked, 3),
        )


def outcome(error: BaseException) -> str:
    """Maps an exception to the ``outcome`` label."""
    if isinstance(error, Cancelled | GeneratorExit):  # the client left
        return "cancelled"
    if isinstance(error, InvalidValue | InvalidFile | NotFound):
        return "invalid"
    if isinstance(error, LimitExceeded):
        return LIMITS.get(error.what, "size")
    if isinstance(error, QueueFull):
        return "refused"
    return "failed" if getattr(error, "by_task", False) else "crashed"  # raised by the task, or the process died
