"""Monitoring in the app's own process: answers with ids, ground-truth labels, and the report. Opens no images."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lib import metrics
from lib.errors import InvalidFile, InvalidValue, JobFailed, NotFound, WorkbenchError
from lib.jobs import Job
from lib.settings import Settings
from lib.train.classification import Answer, Classification
from lib.train.classify import Classify
from lib.train.monitoring.drift_state import DriftState, ReferenceInfo
from lib.train.monitoring.monitor import build_report, report_drift
from lib.train.monitoring.prediction_log import KEPT, Prediction, PredictionLog
from lib.train.monitoring.reference import ARRAYS, FOLDER, read_info
from lib.train.monitoring.report import MonitorReport
from lib.train.monitoring.window import read_state
from lib.train.network_cache import PYTORCH, stamp
from lib.train.runs import ID, Run
from lib.train.visitors import Visitors

ANSWER = re.compile(r"[0-9a-f]{48}")
OPEN = 32  # open prediction logs, and runs included in ``drifting``
HANDLES = 1000  # cached run handles, so that an answer is found without scanning every folder
RETRY = 600.0  # seconds before a failed reference is retried
SHOWN = 20  # classes listed in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledAnswer:
    """``label`` is the predicted class of the answer ``id``, ``truth`` the true one; ``right`` if they are equal."""

    id: str
    label: str
    truth: str
    right: bool


class Host(Protocol):
    """The parts of the trainer that monitoring uses."""

    settings: Settings
    visitors: Visitors
    classify: Classify

    def data_home(self, run: Run) -> Path: ...
    def job(self, task: str, arguments: dict[str, Any]) -> Job: ...


class Monitoring:
    """Monitoring of all runs. Thread-safe."""

    def __init__(self, trainer: Host) -> None:
        self._trainer, self._lock = trainer, threading.Lock()
        self._logs: OrderedDict[str, PredictionLog] = OrderedDict()  # by run folder, in LRU order
        self._handles: OrderedDict[str, Path] = OrderedDict()
        self._making: dict[str, Job] = {}  # references being built, by run id
        self._failed: dict[str, tuple[float, str]] = {}

    def classify(self, run: Run, pictures: Sequence[str | Path], runtime: str = PYTORCH) -> list[Answer]:
        """Classify like ``Trainer.classify`` and log the predictions. Each answer's ``id`` can be used to send its label.

        Raises the same errors. If the log cannot be written, answers have no id.
        """
        began = time.monotonic()
        try:
            answers = self._trainer.classify(run, pictures, runtime, monitored=True)
        except (InvalidValue, InvalidFile, NotFound):
            raise
        except WorkbenchError:
            metrics.CLASSIFIED.labels(runtime, "failed").inc(len(pictures))
            raise
        metrics.CLASSIFY_SECONDS.labels(runtime).observe(time.monotonic() - began)
        classified = [answer for answer in answers if isinstance(answer, Classification)]
        metrics.CLASSIFIED.labels(runtime, "answered").inc(len(classified))
        metrics.CLASSIFIED.labels(runtime, "unreadable").inc(len(answers) - len(classified))
        for prediction in classified:
            metrics.CLASSIFY_CONFIDENCE.observe(prediction.score)
        self._log(run, classified, len(answers) - len(classified), runtime)
        self._refer(run)
        return answers

    def _log(self, run: Run, good: list[Classification], unreadable: int, runtime: str) -> None:
        numbers = {name: number for number, name in enumerate(run.record().classes)}
        handle, now = self._handle(run.id), time.time()
        identified = [(answer, f"{handle}{secrets.token_hex(16)}") for answer in good if answer.label in numbers]
        predictions = [
            Prediction(id, now, numbers[answer.label], answer.score, answer.milliseconds, runtime)
            for answer, id in identified
        ]
        with suppress(OSError, JobFailed):
            (run.folder / FOLDER).mkdir(exist_ok=True)
            self._prediction_log(run).add(predictions, unreadable)
            for answer, id in identified:
                answer.id = id

    def set_label(self, id: str, label: str) -> LabelledAnswer:
        """Store the true label of an answer.

        Raises NotFound if the answer is unknown or was dropped, InvalidValue if ``label`` is not a class of its run.
        """
        run = self._run_of(id)
        classes = run.record().classes
        if not isinstance(label, str) or label not in classes:
            rest = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
            raise InvalidValue("label", label, f"a class of this run: {', '.join(classes[:SHOWN])}{rest}")
        truth = classes.index(label)
        prediction = self._prediction_log(run).set_label(id, truth)
        right = prediction.label == truth
        metrics.CLASSIFY_TRUTHS.labels("right" if right else "wrong").inc()
        predicted = classes[prediction.label] if 0 <= prediction.label < len(classes) else ""
        return LabelledAnswer(id=id, label=predicted, truth=label, right=right)

    def report(self, run: Run) -> MonitorReport:
        """Build the run's report. Raises NotFound if the run is gone, JobFailed if its prediction log cannot be read."""
        log = self._prediction_log(run)
        drift, why = self._drift(run)
        return build_report(run.record(), log.predictions(), log.totals(), drift, why)

    def drifting(self) -> dict[str, int]:
        """Returns, by test, how many recently served runs it currently flags."""
        with self._lock:
            folders = list(self._logs)
        reports = [report_drift(self._drift(Run(Path(folder)))[0], "") for folder in folders]
        return {
            "inputs": sum(bool(report.inputs.flagged) for report in reports),
            "model": sum(bool(report.model.flagged) for report in reports),
        }

    def forget(self, run: Run) -> None:
        """Release a run's resources before it is deleted."""
        with self._lock:
            job, log = self._making.get(run.id), self._logs.pop(str(run.folder), None)
            self._failed.pop(run.id, None)
        if job is not None:
            job.cancel()
        if log is not None:
            log.close()

    def close(self) -> None:
        with self._lock:
            logs, self._logs = list(self._logs.values()), OrderedDict()
        for log in logs:
            log.close()

    # -- answers --------------------------------------------------------------------------------

    def _prediction_log(self, run: Run) -> PredictionLog:
        with self._lock:
            key = str(run.folder)
            log = self._logs[key] = self._logs.pop(key, None) or PredictionLog(run.folder / FOLDER)
            evicted = [self._logs.popitem(last=False)[1] for _ in range(len(self._logs) - OPEN)]
        for evicted_log in evicted:
            evicted_log.close()  # a thread that still uses it reopens it
        return log

    def _handle(self, run: str) -> str:
        """Returns the id prefix that identifies a run without revealing its id."""
        return hashlib.sha256(f"answers {run} {self._trainer.visitors.salt()}".encode()).hexdigest()[:16]

    def _run_of(self, id: str) -> Run:
        not_found = NotFound(f"There is no answer with this id (any more): a run keeps its last {KEPT:,}.")
        if not isinstance(id, str) or not ANSWER.fullmatch(id):
            raise not_found
        with self._lock:
            run_folder = self._handles.get(id[:16])
        if run_folder is None or not run_folder.is_dir():
            if (run_folder := next((f for f in self._folders() if self._handle(f.name) == id[:16]), None)) is None:
                raise not_found
            with self._lock:
                self._handles[id[:16]] = run_folder
                while len(self._handles) > HANDLES:
                    self._handles.popitem(last=False)
        return Run(run_folder)

    def _folders(self) -> Iterator[Path]:
        candidates = (folder for home in self._trainer.visitors.folders() for folder in home.glob("runs/*"))
        return (folder for folder in candidates if ID.fullmatch(folder.name))

    # -- drift ----------------------------------------------------------------------------------

    def _drift(self, run: Run) -> tuple[DriftState, str]:
        """Returns the state that the serving process wrote, and the reason if there is none."""
        if (info := self._reference(run)) is not None:
            state = read_state(run.folder / FOLDER)
            return (state if state.reference == info.id else DriftState()), ""
        with self._lock:
            if run.id in self._making:
                return DriftState(), "Features of the training pictures are being computed for comparison."
            if run.id in self._failed:
                return DriftState(), self._failed[run.id][1]
        return DriftState(), "With the next request, features of the training pictures are computed for comparison."

    def _reference(self, run: Run) -> ReferenceInfo | None:
        """Returns the info of the reference if it fits the run's current weights and this version of the code."""
        folder = run.folder / FOLDER
        info = read_info(folder)
        valid = info is not None and info.weights == stamp(run.folder) and (folder / ARRAYS).is_file()
        return info if valid else None

    def _refer(self, run: Run) -> None:
        """Build the reference in the background if there is none, for one run at a time."""
        if self._reference(run) is not None:
            return
        with self._lock:
            failed = self._failed.get(run.id)
            if self._making or (failed and time.monotonic() - failed[0] < RETRY):
                return
            try:
                arguments = {"run": str(run.folder), "data": str(self._trainer.data_home(run))}
                backbones = list(self._trainer.settings.train_backbones)
                job = self._trainer.job("lib.train.monitoring.tasks:reference", arguments | {"backbones": backbones})
            except WorkbenchError as error:
                self._fail(run, error)
                return
            self._making[run.id] = job

        def follow() -> None:
            try:
                job.result()
                failure = None
            except WorkbenchError as error:
                failure = error
            with self._lock:
                self._making.pop(run.id, None)
                self._failed.pop(run.id, None)
                if failure is not None:
                    self._fail(run, failure)

        threading.Thread(target=follow, name="reference", daemon=True).start()

    def _fail(self, run: Run, error: WorkbenchError) -> None:
        while len(self._failed) >= HANDLES:
            self._failed.pop(next(iter(self._failed)))
        self._failed[run.id] = time.monotonic(), f"Drift cannot be measured: {error.message}"
