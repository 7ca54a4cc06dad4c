"""Exports a run: its network as ONNX, what the converter makes of it, and the check without which no file leaves.

Runs in the app's own process and opens no model and no picture: every step is a job. ``Local`` stands in for the app where
there is none.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

from lib.convert.convert import Converter, Source
from lib.errors import Cancelled, InvalidFile, JobFailed
from lib.jobs import Job, Progress
from lib.settings import Settings
from lib.train.edge import kept, targets
from lib.train.edge.following import Steps, Work
from lib.train.edge.rows import PROVEN, WITHHELD, Row
from lib.train.edge.targets import Target
from lib.train.runs import RUNNING, WAITING, Run

TASKS = "lib.train.edge.tasks"
STATIC = "static (calibrated ranges)"  # of the converter's option ``activations``
AUTHOR, LICENSE = "Model Workbench", "Not stated by whoever trained the network."
# of int8: the share of training pictures whose label has to stay, and of the layers that stay float at least
ATTEMPTS = ((0.95, 0.0), (0.99, 0.1), (1.0, 0.3))
PREFIX = "unfinished-"
Made = Generator[Progress, None, Row]


class Home(Protocol):
    """What an export needs of the trainer."""

    settings: Settings

    def home_of(self, run: Run) -> Path: ...
    def job(self, task: str, arguments: dict[str, Any]) -> Job: ...


class Exporter:
    """One for the whole app; one export of a run at a time."""

    def __init__(self, trainer: Home, converter: Converter) -> None:
        self._trainer, self._converter = trainer, converter
        self._lock, self._busy = threading.Lock(), set[str]()

    def rows(self, run: Run) -> dict[str, Row]:
        """What is known of the run's files, by target."""
        return kept.rows(run)

    def file(self, run: Run, target: str) -> Path | None:
        """The file of an export that is proven; None where there is none. Raises InvalidValue for another target."""
        return kept.path(run, target)

    def export(self, run: Run, target: str) -> Work:
        """Result: ``file``, its path, None where it is withheld; ``report``: the row of ``target`` (``rows.Row``), the
        ``rows`` of all of the run's files by target, and ``runs``, the run's id.

        What was exported before is answered from the run's folder. Raises InvalidValue for another target, and, when it
        runs, NotFound or JobFailed for a run without weights or one that is still trained.
        """
        wanted = targets.find(target)

        def steps(work: Work) -> Steps:
            yield from self._turn(run, work)
            try:
                row = yield from self._chain(run, wanted, work)
                rows = {name: one.as_dict() for name, one in kept.rows(run).items()}
                path = self.file(run, target)
                return {"file": str(path) if path else None, "report": row.as_dict() | {"run": run.id, "rows": rows}}
            finally:
                with self._lock:
                    self._busy.discard(run.id)

        return Work(steps)

    def _turn(self, run: Run, work: Work) -> Generator[Progress, None, None]:
        while True:
            with self._lock:
                if run.id not in self._busy:
                    self._busy.add(run.id)
                    return
            if work.cancelled:
                raise Cancelled()
            yield Progress("Waiting for another export of this run", 0.0)
            time.sleep(0.3)

    def _chain(self, run: Run, wanted: Target, work: Work) -> Made:
        """The files that the wanted one is made of, the run's own first, as far as they are not there."""
        kept.weights(run)
        if (status := run.read()["status"]) in (WAITING, RUNNING) or run.locked:
            raise JobFailed(f"This run is {status}. Export it when it has ended.")
        line = [wanted]
        while line[0].base:
            line.insert(0, targets.find(line[0].base))
        row = None
        for k, target in enumerate(line):
            row = kept.rows(run).get(target.name)
            if row is None or row.verdict != PROVEN:
                row = yield from self._one(run, target, work, k / len(line), (k + 1) / len(line))
            if row.verdict != PROVEN:
                break
        assert row is not None
        if row.target != wanted.name:
            why = f"It is made of {targets.find(row.target).title}, which is withheld: {row.why}"
            row = Row(target=wanted.name, verdict=WITHHELD, why=why, weights=row.weights)
            kept.keep(run, wanted, row, None)
        return row

    def _one(self, run: Run, target: Target, work: Work, begin: float, end: float) -> Made:
        home = run.folder / kept.FOLDER
        home.mkdir(exist_ok=True)
        for left in home.glob(f"{PREFIX}*"):  # of an app that was killed
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
        try:
            row, made = yield from _Making(self._trainer, self._converter, run, target, work, scratch).made(begin, end)
            kept.keep(run, target, row, made)
            return row
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


class _Making:
    """One file, in ``scratch``."""

    def __init__(self, trainer: Home, converter: Converter, run: Run, target: Target, work: Work, scratch: Path) -> None:
        self._trainer, self._converter = trainer, converter
        self._run, self._target, self._work, self._scratch = run, target, work, scratch
        self._weights = kept.weights(run)
        self._seconds: dict[str, float] = {}
        name = run.read().get("name") or run.id
        about = f"Classifies pictures: {name}, run {run.id}. Takes RGB of 0 to 255; the normalization is inside."
        self._about = {"name": name, "description": about, "author": AUTHOR, "license": LICENSE}

    def made(self, begin: float, end: float) -> Generator[Progress, None, tuple[Row, Path | None]]:
        """The row and, where it is proven, the file."""
        if self._target.name == "onnx":
            source = yield from self._onnx(begin, begin + 0.6 * (end - begin))
            return (yield from self._checked(source, begin + 0.6 * (end - begin), end))
        onnx = str(self._run.folder / kept.FOLDER / targets.find("onnx").file)
        zipped = yield from self._job("prepare", "preparation", {"data": self._data, "onnx": onnx}, begin, begin)
        attempts = ATTEMPTS if self._target.precision == "int8" else ATTEMPTS[:1]
        row, made = Row(target=self._target.name, verdict=WITHHELD, weights=self._weights), None
        layers: list[dict[str, Any]] = []
        for k, (agreement, floats) in enumerate(attempts):
            first, last = (begin + (end - begin) * share / len(attempts) for share in (k, k + 1))
            again = f"Attempt {k + 1} of {len(attempts)}, with more layers in float32" if k else ""
            more = {"min_agreement": agreement} | ({"float_layers": round(floats * len(layers))} if k else {})
            try:
                converted, report = yield from self._converted(k, zipped, more, again, first, (first + last) / 2)
            except (InvalidFile, JobFailed) as error:  # a tool that gave up
                row.why, row.attempts = f"It cannot be converted: {error.message}", k + 1
                break
            layers = report.get("layers") or layers
            if converted is None:
                row.why, row.attempts = _withheld(report), k + 1
                continue
            row, made = yield from self._checked(converted, (first + last) / 2, last)
            row.layers, row.float_layers = len(layers), sum(one.get("kept") == "float32" for one in layers)
            row.attempts, row.note = k + 1, _note(report)
            if row.verdict == PROVEN:
                break
        return row, made

    @property
    def _data(self) -> str:
        return str(self._trainer.home_of(self._run))

    def _onnx(self, begin: float, end: float) -> Generator[Progress, None, Path]:
        arguments = {"about": self._about, "backbones": list(self._trainer.settings.train_backbones)}
        yield from self._job("onnx", "ONNX", arguments, begin, end)
        return self._scratch / "onnx" / "model.onnx"

    def _converted(
        self, attempt: int, zipped: dict[str, Any], more: dict[str, Any], stage: str, begin: float, end: float
    ) -> Generator[Progress, None, tuple[Path | None, dict[str, Any]]]:
        """The converter's file and its report; no file where its own proof fails."""
        began, out = time.monotonic(), self._scratch / f"converted-{attempt}"
        out.mkdir()
        base = targets.find(self._target.base)
        options: dict[str, Any] = {
            "samples": zipped["path"],
            "preprocessing": zipped["preprocessing"],
            "anyway": True,  # an int8 file is judged here, on validation pictures
        }
        options |= more
        if base.name == "onnx":
            options |= {"dynamic": False}
        if self._target.precision == "int8":
            options |= {"activations": STATIC}
        folder = self._scratch / "prepare" if base.name == "onnx" else self._run.folder / kept.FOLDER
        source = Source({base.file: folder / base.file})

        def start() -> Any:
            return self._converter.convert(source, self._target.name, options, out)

        found = yield from self._work.follow(start, stage, begin, end)
        self._spent("conversion", began)
        report = found["report"]
        proven = report["faithful"]["verdict"] if self._target.precision == "int8" else report["verdict"]
        return (Path(found["artifact"]) if proven == PROVEN and found["artifact"] else None), report

    def _checked(self, source: Path, begin: float, end: float) -> Generator[Progress, None, tuple[Row, Path | None]]:
        arguments = {"data": self._data, "source": str(source), "target": self._target.name, "about": self._about}
        arguments["backbones"] = list(self._trainer.settings.train_backbones)
        found = yield from self._job("check", "check", arguments, begin, end)
        row = Row.read(found)
        if row is None or row.target != self._target.name:
            raise JobFailed("The process that checked the file was lost. Please try again.")
        row.weights = self._weights
        row.seconds = (row.seconds or {}) | self._seconds
        made = self._scratch / "check" / self._target.file
        if row.verdict != PROVEN:
            row.file = None
            return row, None
        row.file, row.sha256 = self._target.file, kept.digest(made)
        if not row.sha256:
            raise JobFailed("The file that was checked is not there. Please try again.")
        return row, made

    def _job(self, task: str, called: str, arguments: dict[str, Any], begin: float, end: float) -> Steps:
        began, out = time.monotonic(), self._scratch / task
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        given = {"run": str(self._run.folder), "out": str(out)} | arguments
        found = yield from self._work.follow(lambda: self._trainer.job(f"{TASKS}:{task}", given), "", begin, end)
        self._spent(called, began)
        return found

    def _spent(self, what: str, began: float) -> None:
        self._seconds[what] = round(self._seconds.get(what, 0.0) + time.monotonic() - began, 2)


def _withheld(report: dict[str, Any]) -> str:
    said = report["faithful"]["reason"] or report["reason"]
    return f"The converter does not vouch for it: {said}"[:1500]


def _note(report: dict[str, Any]) -> str:
    return str(report.get("summary") or "")[:500]
