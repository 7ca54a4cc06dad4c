"""Exports that a page asked for: each belongs to its run, not to the page, so a reload finds it again."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from lib.errors import Cancelled, JobFailed, WorkbenchError
from lib.jobs import Progress, Result
from lib.steps import Work
from lib.train.edge import targets
from lib.train.edge.export import Exporter
from lib.train.runs import Run

ABANDONED = 900.0  # seconds without anybody who looks, after which an export is cancelled


class RunningExport:
    """Makes one file after another in a thread of its own. ``progress`` is the newest; ``error`` the first that came.

    Where a file cannot be made, the next ones still are; a stop ends them all.
    """

    def __init__(self, exporter: Exporter, run: Run, wanted: Sequence[str]) -> None:
        """Raises InvalidValue for a target that there is not."""
        self.run, self._exporter = run, exporter
        self._wanted = [targets.find(name).name for name in wanted]
        self.progress, self._last_seen = Progress("Starting", 0.0), time.monotonic()
        self.done, self._stopped, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self.error: WorkbenchError | None = None
        self._work: Work | None = None
        self._last = False  # no more targets are taken
        context = contextvars.copy_context()  # its jobs are those of whoever asked
        self._thread = threading.Thread(target=context.run, args=(self._follow,), name="export", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Somebody looks."""
        self._last_seen = time.monotonic()

    def abandoned(self) -> bool:
        return time.monotonic() - self._last_seen > ABANDONED

    def stop(self, wait: float = 0.0) -> None:
        """From any thread; waits at most ``wait`` seconds for its end. Files that are made stay."""
        with self._lock:
            self._stopped.set()
            work = self._work
        if work is not None:
            work.cancel()
        self.done.wait(wait)

    def add(self, wanted: Sequence[str]) -> bool:
        """Makes these, too; False where it is too late. Raises InvalidValue for a target that there is not."""
        found = [targets.find(name).name for name in wanted]
        with self._lock:
            if self._last or self._stopped.is_set():
                return False
            self._wanted += [name for name in found if name not in self._wanted]
            return True

    def _follow(self) -> None:
        tried: list[str] = []
        try:
            while missing := self._missing(tried):
                target, count = missing[0], len(tried) + len(missing)
                first = "" if target in self._wanted else ", made first for the others"
                words = f"{len(tried) + 1} of {count} files{first}. " if count > 1 else ""
                self._one(target, words, len(tried) / count, 1 / count)
                tried.append(target)
        except WorkbenchError as error:
            self.error = error
        except Exception:
            self.error = JobFailed("The export was lost. Please try again.")
            raise  # to the log
        finally:
            with self._lock:
                self._last = True
            self.done.set()

    def _missing(self, tried: Sequence[str]) -> list[str]:
        with self._lock:
            found = [name for name in self._exporter.missing(self.run, self._wanted) if name not in tried]
            self._last = not found
            return found

    def _one(self, target: str, words: str, begin: float, part: float) -> None:
        with self._lock:
            if self._stopped.is_set():
                raise Cancelled()
            self._work = work = self._exporter.export(self.run, target)
        try:
            with closing(work.events()) as events:
                for event in events:
                    if not isinstance(event, Result):
                        self.progress = Progress(f"{words}{event.stage}", begin + part * (event.share or 0.0))
        except Cancelled:
            raise
        except WorkbenchError as error:
            self.error = self.error or error


class Exports:
    """Those of the whole app, one a run; the last one of a run is kept after its end, for what it ended with."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter, self._lock = exporter, threading.Lock()
        self._by_run: dict[str, RunningExport] = {}
        self._closed = False

    def start(self, run: Run, wanted: Sequence[str]) -> RunningExport:
        """The run's export under way, which takes the targets on, or a new one. Raises InvalidValue; Cancelled after
        ``close``."""
        with self._lock:
            if self._closed:
                raise Cancelled()
            found = self._by_run.get(run.id)
            if found is None or not found.add(wanted):
                found = self._by_run[run.id] = RunningExport(self._exporter, run, wanted)
            return found

    def of(self, run: str) -> RunningExport | None:
        """Under way, or ended; by the run's id."""
        return self._by_run.get(run)

    def touch(self, home: Path) -> None:
        """Somebody looks who owns the runs in the folder ``home``."""
        for one in list(self._by_run.values()):
            if one.run.folder.parent == home:
                one.touch()

    def stop(self, run: str, wait: float = 0.0) -> None:
        if (found := self._by_run.get(run)) is not None:
            found.stop(wait)

    def forget(self, run: str) -> None:
        """One that has ended."""
        with self._lock:
            if (found := self._by_run.get(run)) is not None and found.done.is_set():
                del self._by_run[run]

    def sweep(self) -> None:
        """Cancels what nobody looks at, and forgets what ended with nobody there."""
        for id, one in list(self._by_run.items()):
            if one.abandoned():
                one.stop()
                self.forget(id)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            left = list(self._by_run.values())
        for one in left:
            one.stop()
        for one in left:
            one.done.wait(5)
