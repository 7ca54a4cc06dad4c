"""Active trainings. Each belongs to a visitor instead of a page, so a reload finds it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from lib.errors import Cancelled, WorkbenchError
from lib.jobs import Job, Progress, Result
from lib.train.runs import INTERRUPTED, RUNNING, STOPPED, WAITING, Run

ABANDONED = 900.0  # seconds without a viewer after which a visitor's training is stopped; it can be resumed


class RunningTraining:
    """Follows a job in its own thread. ``progress`` is the latest, ``error`` or ``result`` the outcome."""

    def __init__(
        self, run: Run, job: Job, on_end: Callable[[RunningTraining], None], *, keep_running: bool, expected: float = 0.0
    ) -> None:
        """``keep_running`` continues without viewers. ``on_end`` is called once, before ``done`` is set.

        ``expected`` is the estimated duration in seconds.
        """
        self.run, self.job, self._on_end, self._lasting = run, job, on_end, keep_running
        self.expected = expected
        self.started: float | None = None  # monotonic seconds; None while queued
        self.progress = Progress("Starting")
        self.result: dict[str, Any] | None = None
        self.error: WorkbenchError | None = None
        self.done, self.began, self._last_seen = threading.Event(), time.monotonic(), time.monotonic()
        self._turn = run.turn()
        self._turn.__enter__()  # not in the thread: the run must count as alive from now on
        threading.Thread(target=self._follow, name="training", daemon=True).start()

    def touch(self) -> None:
        """Record that a viewer is present."""
        self._last_seen = time.monotonic()

    def abandoned(self) -> bool:
        return not self._lasting and not self.done.is_set() and time.monotonic() - self._last_seen > ABANDONED

    def stop(self) -> None:
        """Kill the training process. The checkpoint of the last complete epoch is kept."""
        self.job.cancel()

    def remaining(self) -> float:
        """Returns the estimated remaining seconds, without the time in the queue."""
        spent = 0.0 if self.started is None else time.monotonic() - self.started
        return max(0.0, self.expected - spent)

    def _follow(self) -> None:
        try:
            for event in self.job.events():
                if isinstance(event, Result):
                    self.result = event.value
                else:
                    if self.started is None and not event.stage.startswith("Waiting"):
                        self.started = time.monotonic()
                    self.progress = event
        except WorkbenchError as error:
            self.error = error
        finally:
            try:
                self._update_record()
            finally:
                self._turn.__exit__(None, None, None)
                try:
                    self._on_end(self)
                finally:
                    self.done.set()

    def _update_record(self) -> None:
        """Set the status after a kill, when the record still says "running"."""
        if self.error is None:
            return
        try:
            if isinstance(self.error, Cancelled):
                self.run.update(status=STOPPED)
            elif self.run.record().status in (RUNNING, WAITING):
                # lib/jobs words its message for files, but this is a training
                message = self.error.message.replace("The process that opened the file", "The training's process")
                self.run.update(status=INTERRUPTED, error=message)
        except WorkbenchError:  # the run was deleted
            pass
