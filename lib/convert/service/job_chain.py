"""A chain of jobs with a scratch folder. Some steps run in a thread of the app."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from lib import steps
from lib.errors import Cancelled
from lib.jobs import Job, Progress
from lib.steps import Steps

BEAT = 0.5  # seconds between progress events of a thread
PREFIX = "workbench-convert-"


def sweep(hours: float) -> None:
    """Remove scratch folders older than ``hours``, which a crashed server left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.stat(follow_symlinks=False).st_mtime < time.time() - hours * 3600:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


class JobChain(steps.Work):
    """Work of several jobs. ``steps`` takes this object and a scratch folder, yields Progress and returns the result."""

    def __init__(self, steps: Callable[[JobChain, Path], Steps]) -> None:
        super().__init__(lambda _: self._in_scratch(steps))

    def _in_scratch(self, steps: Callable[[JobChain, Path], Steps]) -> Steps:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            return (yield from steps(self, folder))
        finally:
            self.cancel()  # before the folder is removed
            shutil.rmtree(folder, ignore_errors=True)

    def job(self, submit: Callable[[], Job], *, stage: str, share: float) -> Steps:
        """Run the job that ``submit`` starts. Its stages get the prefix ``stage``; ``share`` (0 to 1) is already done."""
        return self.follow(submit, stage, share, share)

    def thread(
        self, function: Callable[[Callable[..., None]], Any], *, stage: str, share: float
    ) -> Generator[Progress, None, Any]:
        """Run ``function`` in a thread and return its result. Its argument is a progress callback, which raises Cancelled
        after a cancellation."""
        messages: queue.Queue[tuple[str, Any]] = queue.Queue()

        def progress(message: str, done: float | None = None) -> None:
            if self.cancelled:
                raise Cancelled()
            messages.put(("progress", message))

        def body() -> None:
            try:
                messages.put(("end", function(progress)))
            except BaseException as error:
                messages.put(("error", error))

        threading.Thread(target=body, name="environment", daemon=True).start()
        message = "Preparing"
        while True:
            try:
                kind, value = messages.get(timeout=BEAT)
            except queue.Empty:
                yield Progress(f"{stage}: {message}", share)
                continue
            if kind == "end":
                return value
            if kind == "error":
                raise value
            message = value
            yield Progress(f"{stage}: {message}", share)
