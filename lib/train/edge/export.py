"""Exports a run: its network as ONNX, what the converter makes of it, and the check without which no file leaves.

Runs in the app's own process and opens no model and no picture: every step is a job. ``Local`` stands in for the app where
there is none.
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
MAX_WAITING = 32  # exports; each holds a thread while it waits for another one of its run
Made = Generator[Progress, None, ExportRow]


class Exporter:
    """One for the whole app; one export of a run at a time."""

    def __init__(self, trainer: ExportHost, converter: Converter) -> None:
        self._trainer, self._converter = trainer, converter
        self._lock, self._busy, self._waiting = threading.Lock(), set[str](), 0

    def rows(self, run: Run) -> dict[str, ExportRow]:
        """What is known of the run's files, by target."""
        return export_store.rows(run)

    def file(self, run: Run, target: str) -> Path | None:
        """The file of an export that is proven; None where there is none. Raises InvalidValue for another target."""
        return export_store.path(run, target)

    def missing(self, run: Run, wanted: Sequence[str]) -> list[str]:
        """What has to be made for the targets ``wanted``, and for what they are made of, in that order."""
        known = self.rows(run)
        line = dict.fromkeys(target.name for name in wanted for target in targets.line(name))
        return [name for name in line if name not in known or known[name].verdict != PROVEN]

    def export(self, run: Run, target: str) -> Work:
        """Result: ``file``, its path, None where it is withheld; ``report``: the row of ``target`` (``rows.Row``), the
        ``rows`` of all of the run's files by target, and ``run``, the run's id.

        What was exported before is answered from the run's folder. Raises InvalidValue for another target, and, when it
        runs, NotFound for a run without weights or one that is deleted meanwhile, JobFailed for one that is still trained,
        QueueFull where ``MAX_WAITING`` wait.
        """
        wanted = targets.find(target)

        def steps(work: Work) -> Steps:
            yield from self._turn(run, work)
            try:
                row = yield from self._chain(run, wanted, work)
                rows = {name: one.as_dict() for name, one in export_store.rows(run).items()}
                path = self.file(run, target)
                return {"file": str(path) if path else None, "report": row.as_dict() | {"run": run.id, "rows": rows}}
            except Cancelled:
                raise
            except (OSError, WorkbenchError):
                if not run.folder.is_dir():
                    raise NotFound("This run was deleted while it was exported.") from None
                raise
            finally:
                with self._lock:
                    self._busy.discard(run.id)

        return Work(steps)

    def _turn(self, run: Run, work: Work) -> Generator[Progress, None, None]:
        """Raises QueueFull where too many wait: each of them holds a thread."""
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
        """The files that the wanted one is made of, the run's own first, as far as they are not there."""
        export_store.weights_sha256(run)
        if (status := run.record().status) in (WAITING, RUNNING) or run.locked:
            raise JobFailed(f"This run is {status}. Export it when it has ended.")
        line, row = targets.line(wanted.name), None
        for k, target in enumerate(line):
            row = export_store.rows(run).get(target.name)
            if row is None or row.verdict != PROVEN:
                words = target.title if target is wanted else f"{target.title}, made first"
                row = yield from _named(words, self._one(run, target, work, k / len(line), (k + 1) / len(line)))
            if row.verdict != PROVEN:
                break
        assert row is not None
        if row.target != wanted.name:
            why = f"It is made of {targets.find(row.target).title}, which is withheld: {row.why}"
            row = ExportRow(target=wanted.name, verdict=WITHHELD, why=why, weights=row.weights)
            export_store.save(run, wanted, row, None)
        return row

    def _one(self, run: Run, target: Target, work: Work, begin: float, end: float) -> Made:
        home = run.folder / export_store.FOLDER
        home.mkdir(exist_ok=True)
        for left in home.glob(f"{PREFIX}*"):  # of an app that was killed
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
        try:
            row, made = yield from FileBuilder(self._trainer, self._converter, run, target, work, scratch).build(begin, end)
            export_store.save(run, target, row, made)
            return row
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _named(words: str, steps: Made) -> Made:
    """``steps``, whose stages come behind ``words``."""
    try:
        while True:
            progress = next(steps)
            yield Progress(f"{words}: {progress.stage}", progress.share)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
