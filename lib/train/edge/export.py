"""Exports a run: ONNX export, conversion, and the check that every file must pass before release.

Runs in the app's own process and opens no model or image: every step is a job. ``LocalHost`` replaces the app in
scripts and on the command line.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from lib.convert.service.converter import Converter
from lib.errors import Cancelled, JobFailed, NotFound, QueueFull, WorkbenchError
from lib.jobs import Progress
from lib.steps import Steps, Work
from lib.train.edge import export_store, targets
from lib.train.edge.build_file import ExportHost, FileBuilder
from lib.train.edge.export_row import PROVEN, WITHHELD, ExportRow
from lib.train.edge.targets import Target
from lib.train.runs import RUNNING, WAITING, Run

PREFIX = "unfinished-"
MAX_WAITING = 32  # exports that wait for another export of the same run; each occupies a thread
Made = Generator[Progress, None, ExportRow]


class Exporter:
    """One instance per app; runs one export per run at a time."""

    def __init__(self, trainer: ExportHost, converter: Converter) -> None:
        self._trainer, self._converter = trainer, converter
        self._lock, self._busy, self._waiting = threading.Lock(), set[str](), 0

    def rows(self, run: Run) -> dict[str, ExportRow]:
        """Returns the rows of the run's files, by target."""
        return export_store.rows(run)

    def file(self, run: Run, target: str) -> Path | None:
        """Returns the proven file of a target, or None. Raises InvalidValue for an unknown target."""
        return export_store.path(run, target)

    def missing(self, run: Run, wanted: Sequence[str]) -> list[str]:
        """Returns the targets still to be built for ``wanted``, including those they are made from, in build order."""
        known = self.rows(run)
        needed = dict.fromkeys(target.name for name in wanted for target in targets.line(name))
        return [name for name in needed if name not in known or known[name].verdict != PROVEN]

    def export(self, run: Run, target: str) -> Work:
        """Export to ``target``. The result holds ``file``, its path or None if withheld, and ``report``.

        ``report`` is the target's row (``ExportRow``) plus ``rows``, all rows of the run by target, and ``run``, its id.
        Files already exported are not rebuilt. Raises InvalidValue for an unknown target. The work itself raises NotFound
        for a run without weights or one deleted meanwhile, JobFailed for one still in training, and QueueFull if
        ``MAX_WAITING`` exports wait.
        """
        wanted = targets.find(target)

        def steps(work: Work) -> Steps:
            yield from self._turn(run, work)
            try:
                row = yield from self._chain(run, wanted, work)
                rows = {name: stored.as_dict() for name, stored in export_store.rows(run).items()}
                path = self.file(run, target)
                return {"file": str(path) if path else None, "report": row.as_dict() | {"run": run.id, "rows": rows}}
            except Cancelled:
                raise
            except (OSError, WorkbenchError):
                if not run.folder.is_dir():
                    raise NotFound("This run was deleted during the export.") from None
                raise
            finally:
                with self._lock:
                    self._busy.discard(run.id)

        return Work(steps)

    def _turn(self, run: Run, work: Work) -> Generator[Progress, None, None]:
        """Wait until no other export of the run is active. Raises QueueFull if too many wait: each occupies a thread."""
        with self._lock:
            if self._waiting >= MAX_WAITING:
                raise QueueFull(self._waiting)
            self._waiting += 1
        try:
            while True:
                with self._lock:
                    if run.id not in self._busy:
                        self._busy.add(run.id)
                        return
                if work.cancelled:
                    raise Cancelled()
                yield Progress("Waiting for another export of this run", 0.0)
                time.sleep(0.3)
        finally:
            with self._lock:
                self._waiting -= 1

    def _chain(self, run: Run, wanted: Target, work: Work) -> Made:
        """Build the wanted file and, first, those that it is made from and that do not exist yet."""
        export_store.weights_sha256(run)
        if (status := run.record().status) in (WAITING, RUNNING) or run.locked:
            raise JobFailed(f"This run is {status}. Export it when it has ended.")
        chain, row = targets.line(wanted.name), None
        for position, target in enumerate(chain):
            row = export_store.rows(run).get(target.name)
            if row is None or row.verdict != PROVEN:
                label = target.title if target is wanted else f"{target.title}, made first"
                row = yield from _named(
                    label, self._one(run, target, work, position / len(chain), (position + 1) / len(chain))
                )
            if row.verdict != PROVEN:
                break
        assert row is not None
        if row.target != wanted.name:
            why = f"It is made from {targets.find(row.target).title}, which is withheld: {row.why}"
            row = ExportRow(target=wanted.name, verdict=WITHHELD, why=why, weights=row.weights)
            export_store.save(run, wanted, row, None)
        return row

    def _one(self, run: Run, target: Target, work: Work, begin: float, end: float) -> Made:
        home = run.folder / export_store.FOLDER
        home.mkdir(exist_ok=True)
        for leftover in home.glob(f"{PREFIX}*"):  # left by a killed process
            shutil.rmtree(leftover, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
        try:
            row, path = yield from FileBuilder(self._trainer, self._converter, run, target, work, scratch).build(begin, end)
            export_store.save(run, target, row, path)
            return row
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _named(words: str, steps: Made) -> Made:
    """Run ``steps`` with ``words`` as the prefix of each stage."""
    try:
        while True:
            progress = next(steps)
            yield Progress(f"{words}: {progress.stage}", progress.share)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
