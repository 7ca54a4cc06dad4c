"""Work in several jobs, one after another, that looks like one: events, and a cancel that ends everything.

Has the verbs of ``lib.jobs.Job``, so whoever follows jobs follows this too.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from lib.errors import Cancelled
from lib.jobs import Job, Progress, Result

Steps = Generator[Progress, None, dict[str, Any]]
BEAT = 0.5  # seconds
PREFIX = "workbench-convert-"


def sweep(hours: float) -> None:
    """Removes scratch folders that a crashed server left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.stat(follow_symlinks=False).st_mtime < time.time() - hours * 3600:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


class Work:
    """``steps`` is given this object and a scratch folder, yields Progress and returns the result."""

    def __init__(self, steps: Callable[[Work, Path], Steps]) -> None:
        self._steps, self._lock = steps, threading.Lock()
        self._job: Job | None = None
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """From any thread. Harmless when it has ended."""
        with self._lock:
            self._cancelled.set()
            job = self._job
        if job is not None:
            job.cancel()

    def events(self) -> Iterator[Progress | Result]:
        """Progress and, last, the Result; leaving early cancels. Raises what the jobs raise."""
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            yield Result((yield from self._steps(self, folder)))
        finally:
            self.cancel()
            shutil.rmtree(folder, ignore_errors=True)

    def result(self) -> dict[str, Any]:
        for event in self.events():
            if isinstance(event, Result):
                return event.value
        raise AssertionError("work ends with a result or an error")

    def job(self, submit: Callable[[], Job], *, stage: str, share: float) -> Steps:
        """The job that ``submit`` puts in line; its stages come behind ``stage``; ``share`` of the whole is done before."""
        with self._lock:
            if self.cancelled:
                raise Cancelled()
            self._job = job = submit()
        for event in job.events():
            if isinstance(event, Result):
                return event.value
            yield Progress(f"{stage}: {event.stage}" if stage else event.stage, share)
        raise AssertionError("a job ends with a result or an error")

    def thread(
        self, function: Callable[[Callable[..., None]], Any], *, stage: str, share: float
    ) -> Generator[Progress, None, Any]:
        """Something of our own that reports progress through a callback, which raises Cancelled on a stop."""
        news: queue.Queue[tuple[str, Any]] = queue.Queue()

        def progress(said: str, done: float | None = None) -> None:
            if self.cancelled:
                raise Cancelled()
            news.put(("progress", said))

        def body() -> None:
            try:
                news.put(("end", function(progress)))
            except BaseException as error:
                news.put(("error", error))

        threading.Thread(target=body, name="environment", daemon=True).start()
        said = "Preparing"
        while True:
            try:
                kind, value = news.get(timeout=BEAT)
            except queue.Empty:
                yield Progress(f"{stage}: {said}", share)
                continue
            if kind == "end":
                return value
            if kind == "error":
                raise value
            said = value
            yield Progress(f"{stage}: {said}", share)
