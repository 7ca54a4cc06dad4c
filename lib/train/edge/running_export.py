"""Active exports requested from a page. Each belongs to its run instead of the page, so a reload finds it again."""

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

ABANDONED = 900.0  # seconds without a viewer after which an export is cancelled


class RunningExport:
    """Builds one file after another in its own thread. ``progress`` is the latest, ``error`` the first error.

    If a file fails, the remaining ones are still built; ``stop`` cancels them all.
    """

    def __init__(self, exporter: Exporter, run: Run, wanted: Sequence[str]) -> None:
        """Raises InvalidValue for an unknown target."""
        self.run, self._exporter = run, exporter
        self._wanted = [targets.find(name).name for name in wanted]
        self.progress, self._last_seen = Progress("Starting", 0.0), time.monotonic()
        self.done, self._stopped, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self.error: WorkbenchError | None = None
        self._work: Work | None = None
        self._last = False  # True once no more targets are accepted
        context = contextvars.copy_context()  # the jobs belong to the caller
        self._thread = threading.Thread(target=context.run, args=(self._follow,), name="export", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Record that a viewer is present."""
        self._last_seen = time.monotonic()

    def abandoned(self) -> bool:
        return time.monotonic() - self._last_seen > ABANDONED

    def stop(self, wait: float = 0.0) -> None:
        """Cancel from any thread and wait at most ``wait`` seconds for the end. Completed files are kept."""
        with self._lock:
            self._stopped.set()
            work = self._work
        if work is not None:
            work.cancel()
        self.done.wait(wait)

    def add(self, wanted: Sequence[str]) -> bool:
        """Add targets; returns False if it is too late. Raises InvalidValue for an unknown target."""
        names = [targets.find(name).name for name in wanted]
        with self._lock:
            if self._last or self._stopped.is_set():
                return False
            self._wanted += [name for name in names if name not in self._wanted]
            return True

    def _follow(self) -> None:
        tried: list[str] = []
        try:
            while missing := self._missing(tried):
                target, count = missing[0], len(tried) + len(missing)
                note = "" if target in self._wanted else ", made first for the others"
                prefix = f"{len(tried) + 1} of {count} files{note}. " if count > 1 else ""
                self._one(target, prefix, len(tried) / count, 1 / count)
                tried.append(target)
        except WorkbenchError as error:
            self.error = error
        except Exception:
            self.error = JobFailed("The export was lost. Please try again.")
            raise  # so that it is logged
        finally:
            with self._lock:
                self._last = True
            self.done.set()

    def _missing(self, tried: Sequence[str]) -> list[str]:
        with self._lock:
            remaining = [name for name in self._exporter.missing(self.run, self._wanted) if name not in tried]
            self._last = not remaining
            return remaining

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
    """All active exports, one per run. The last one of a run is kept after its end, for its outcome."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter, self._lock = exporter, threading.Lock()
        self._by_run: dict[str, RunningExport] = {}
        self._closed = False

    def start(self, run: Run, wanted: Sequence[str]) -> RunningExport:
        """Add the targets to the run's active export, or start a new one. Raises InvalidValue; Cancelled after ``close``."""
        with self._lock:
            if self._closed:
                raise Cancelled()
            export = self._by_run.get(run.id)
            if export is None or not export.add(wanted):
                export = self._by_run[run.id] = RunningExport(self._exporter, run, wanted)
            return export

    def of(self, run: str) -> RunningExport | None:
        """Returns the run's active or last export, by run id."""
        return self._by_run.get(run)

    def touch(self, home: Path) -> None:
        """Record that the owner of the runs in the folder ``home`` is present."""
        for export in list(self._by_run.values()):
            if export.run.folder.parent == home:
                export.touch()

    def stop(self, run: str, wait: float = 0.0) -> None:
        if (export := self._by_run.get(run)) is not None:
            export.stop(wait)

    def forget(self, run: str) -> None:
        """Forget an export that has ended."""
        with self._lock:
            if (export := self._by_run.get(run)) is not None and export.done.is_set():
                del self._by_run[run]

    def sweep(self) -> None:
        """Cancel abandoned exports, and forget those that ended without a viewer."""
        for id, export in list(self._by_run.items()):
            if export.abandoned():
                export.stop()
                self.forget(id)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            exports = list(self._by_run.values())
        for export in exports:
            export.stop()
        for export in exports:
            export.done.wait(5)
