"""Trainings under way: each belongs to a visitor, not to a page, so a reload finds it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from lib.errors import Cancelled, WorkbenchError
from lib.jobs import Job, Progress, Result
from lib.train.runs import INTERRUPTED, RUNNING, STOPPED, WAITING, Run

ABANDONED = 900.0  # seconds without anybody who looks, after which a visitor's training is stopped; it can be resumed


class RunningTraining:
    """Follows a job in a thread of its own. ``progress`` is its newest, ``error`` and ``result`` its end."""

    def __init__(
        self, run: Run, job: Job, on_end: Callable[[RunningTraining], None], *, keep_running: bool, expected: float = 0.0
    ) -> None:
        """``keep_running``: it goes on when nobody looks. ``on_end`` is called once, before ``done`` is set.

        ``expected`` are the seconds that it was estimated to take.
        """
        self.run, self.job, self._on_end, self._lasting = run, job, on_end, keep_running
        self.expected = expected
        self.started: float | None = None  # monotonic seconds; None while it waits for its turn
        self.progress = Progress("Starting")
        self.result: dict[str, Any] | None = None
        self.error: WorkbenchError | None = None
        self.done, self.began, self._last_seen = threading.Event(), time.monotonic(), time.monotonic()
        self._turn = run.turn()
        self._turn.__enter__()  # here and not in the thread: from now on the run counts as alive
        threading.Thread(target=self._follow, name="training", daemon=True).start()

    def touch(self) -> None:
        """Somebody looks."""
        self._last_seen = time.monotonic()

    def abandoned(self) -> bool:
        return not self._lasting and not self.done.is_set() and time.monotonic() - self._last_seen > ABANDONED

    def stop(self) -> None:
        """Kills the training's process. Its last whole epoch stays on the disk."""
        self.job.cancel()

    def remaining(self) -> float:
        """Seconds to go, its turn in the queue not counted, if the estimate is right."""
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
        """The record of a killed process still says "running"."""
        if self.error is None:
            return
        try:
            if isinstance(self.error, Cancelled):
                self.run.update(status=STOPPED)
            elif self.run.record().status in (RUNNING, WAITING):
                # lib/jobs speaks of files; here it is a training
                words = self.error.message.replace("The process that opened the file", "The training's process")
                self.run.update(status=INTERRUPTED, error=words)
        except WorkbenchError:  # it was deleted
            pass
