"""Builds one exported file step by step in a scratch folder: prepare, convert, check. Every step is a job."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

from lib.convert.service.converter import Converter, Source
from lib.errors import InvalidFile, JobFailed
from lib.jobs import Job, Progress
from lib.settings import Settings
from lib.steps import Steps, Work
from lib.train.edge import export_store, targets
from lib.train.edge.export_row import PROVEN, WITHHELD, ExportRow
from lib.train.edge.targets import Target
from lib.train.handover import NAME as SAMPLES
from lib.train.handover import SamplesFile
from lib.train.runs import Run
from lib.train.schema import parse

TASKS = "lib.train.edge.tasks"
STATIC = "static (calibrated ranges)"  # a value of the converter's option ``activations``
LOST = "The process that checked the file was lost. Please try again."
AUTHOR, LICENSE = "Model Workbench", ""  # the owner of the run states no license
# int8: (minimum label agreement on training images, minimum share of layers kept in float)
ATTEMPTS = ((0.95, 0.0), (0.99, 0.1), (1.0, 0.3))


class ExportHost(Protocol):
    """The parts of the trainer that an export uses."""

    settings: Settings

    def data_home(self, run: Run) -> Path: ...
    def job(self, task: str, arguments: dict[str, Any]) -> Job: ...


class FileBuilder:
    """Builds one file in ``scratch``."""

    def __init__(
        self, trainer: ExportHost, converter: Converter, run: Run, target: Target, work: Work, scratch: Path
    ) -> None:
        self._trainer, self._converter = trainer, converter
        self._run, self._target, self._work, self._scratch = run, target, work, scratch
        self._weights = export_store.weights_sha256(run)
        self._seconds: dict[str, float] = {}
        name = run.record().name or run.id
        about = f"Classifies pictures: {name}, run {run.id}. Takes RGB from 0 to 255; normalization is included."
        self._about = {"name": name, "description": about, "author": AUTHOR, "license": LICENSE}

    def build(self, begin: float, end: float) -> Generator[Progress, None, tuple[ExportRow, Path | None]]:
        """Build and check the file. Returns its row and, if it is proven, its path."""
        if self._target.name == "onnx":
            source = yield from self._onnx(begin, begin + 0.6 * (end - begin))
            return (yield from self._check(source, begin + 0.6 * (end - begin), end))
        base = targets.find(self._target.base)
        onnx = str(self._run.folder / export_store.FOLDER / base.file) if base.name == "onnx" else ""
        preparation = yield from self._job("prepare", "preparation", {"data": self._data, "onnx": onnx}, begin, begin)
        if (samples := parse(SamplesFile, preparation)) is None:
            raise JobFailed(LOST)
        int8 = self._target.precision == "int8"
        # try the prepared ONNX first, then the original one if the converter gets it wrong (random hard-swish networks)
        attempts = ATTEMPTS if int8 else ATTEMPTS[:1] * (2 if onnx else 1)
        row, path = ExportRow(target=self._target.name, verdict=WITHHELD, weights=self._weights), None
        layers: list[dict[str, Any]] = []
        for attempt, (agreement, floats) in enumerate(attempts):
            first, last = (begin + (end - begin) * share / len(attempts) for share in (attempt, attempt + 1))
            change = "with more layers in float32" if int8 else "from the ONNX file as it was exported"
            stage = f"Attempt {attempt + 1} of {len(attempts)}, {change}" if attempt else ""
            constraints = {"min_agreement": agreement} | (
                {"float_layers": round(floats * len(layers))} if attempt and int8 else {}
            )
            try:
                converted, report = yield from self._convert(attempt, samples, constraints, stage, first, (first + last) / 2)
            except (InvalidFile, JobFailed) as error:  # the conversion failed
                row.why, row.attempts = f"It cannot be converted: {error.message}", attempt + 1
                break
            layers = report.get("layers") or layers
            if converted is None:
                row.why, row.attempts = _withheld_reason(report), attempt + 1
                continue
            row, path = yield from self._check(converted, (first + last) / 2, last)
            row.layers, row.float_layers = len(layers), sum(layer.get("kept") == "float32" for layer in layers)
            row.attempts, row.note = attempt + 1, _note(report, samples.count.get("training", 0))
            if row.verdict == PROVEN:
                break
        return row, path

    @property
    def _data(self) -> str:
        return str(self._trainer.data_home(self._run))

    def _onnx(self, begin: float, end: float) -> Generator[Progress, None, Path]:
        arguments = {"about": self._about, "backbones": list(self._trainer.settings.train_backbones)}
        yield from self._job("onnx", "ONNX", arguments, begin, end)
        return self._scratch / "onnx" / "model.onnx"

    def _convert(
        self, attempt: int, samples: SamplesFile, more: dict[str, Any], stage: str, begin: float, end: float
    ) -> Generator[Progress, None, tuple[Path | None, dict[str, Any]]]:
        """Run the converter. Returns its file, or None if its own verification fails, and its report."""
        began, out = time.monotonic(), self._scratch / f"converted-{attempt}"
        out.mkdir()
        base = targets.find(self._target.base)
        options: dict[str, Any] = {
            "samples": str(self._scratch / "prepare" / SAMPLES),
            "preprocessing": samples.preprocessing,
            "anyway": True,  # int8 files are evaluated here, on validation images
        }
        options |= more
        if base.name == "onnx":
            options |= {"dynamic": False}
        if self._target.precision == "int8":
            options |= {"activations": STATIC}
        prepared = base.name == "onnx" and not attempt
        folder = self._scratch / "prepare" if prepared else self._run.folder / export_store.FOLDER
        source = Source({base.file: folder / base.file})

        def start() -> Any:
            return self._converter.convert(source, self._target.name, options, out)

        answer = yield from self._work.follow(start, stage, begin, end)
        self._add_seconds("conversion", began)
        report = answer["report"]
        proven = report["faithful"]["verdict"] if self._target.precision == "int8" else report["verdict"]
        return (Path(answer["artifact"]) if proven == PROVEN and answer["artifact"] else None), report

    def _check(self, source: Path, begin: float, end: float) -> Generator[Progress, None, tuple[ExportRow, Path | None]]:
        arguments = {"data": self._data, "source": str(source), "target": self._target.name, "about": self._about}
        arguments["backbones"] = list(self._trainer.settings.train_backbones)
        answer = yield from self._job("check", "check", arguments, begin, end)
        row = ExportRow.read(answer)
        if row is None or row.target != self._target.name:
            raise JobFailed(LOST)
        row.weights = self._weights
        row.seconds = (row.seconds or {}) | self._seconds
        path = self._scratch / "check" / self._target.file
        if row.verdict != PROVEN:
            row.file = None
            return row, None
        row.file, row.sha256 = self._target.file, export_store.digest(path)
        if not row.sha256:
            raise JobFailed("The checked file is missing. Please try again.")
        return row, path

    def _job(self, task: str, label: str, arguments: dict[str, Any], begin: float, end: float) -> Steps:
        began, out = time.monotonic(), self._scratch / task
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        paths = {"run": str(self._run.folder), "out": str(out)} | arguments
        answer = yield from self._work.follow(lambda: self._trainer.job(f"{TASKS}:{task}", paths), "", begin, end)
        self._add_seconds(label, began)
        return answer

    def _add_seconds(self, what: str, began: float) -> None:
        self._seconds[what] = round(self._seconds.get(what, 0.0) + time.monotonic() - began, 2)


def _withheld_reason(report: dict[str, Any]) -> str:
    text = report["faithful"]["reason"] or report["reason"]
    return f"The converter could not verify it: {text}"[:1500]


def _note(report: dict[str, Any], count: int) -> str:
    """Returns the converter's summary; its samples are ``count`` training images."""
    text = re.sub(r"\bsamples\b", "training pictures", str(report.get("summary") or ""))
    mentions_samples = not text or "training pictures" in text or "sets of inputs" in text
    return (text if mentions_samples else f"On {count} training pictures: {text}")[:500]
