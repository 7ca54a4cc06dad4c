"""The app's side of the watch: answers with ids, truths, and what ``/monitor`` says. Opens no picture."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import metrics
from lib.errors import InvalidFile, InvalidValue, JobFailed, NotFound, WorkbenchError
from lib.jobs import Job
from lib.train.loaded import PYTORCH, stamp
from lib.train.runs import ID, Run, read_json
from lib.train.watch.ledger import KEPT, Answer, Ledger
from lib.train.watch.monitor import lights_of, monitor
from lib.train.watch.reference import ABOUT, ARRAYS, FOLDER, VERSION
from lib.train.watch.window import DRIFT, MAX_BYTES

if TYPE_CHECKING:
    from lib.train.trainer import Trainer

ANSWER = re.compile(r"[0-9a-f]{48}")
OPEN = 32  # ledgers, and runs whose lights are counted
HANDLES = 1000  # runs whose answers are found without a look at every folder
RETRY = 600.0  # seconds after which a reference that could not be made is tried again
SHOWN = 20  # classes in a message


class Watch:
    """Of all runs. Safe to call from many threads."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._lock = trainer, threading.Lock()
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()  # by the run's folder, the last used last
        self._handles: OrderedDict[str, Path] = OrderedDict()
        self._making: dict[str, Job] = {}  # references, by the run's id
        self._failed: dict[str, tuple[float, str]] = {}

    def serve(self, run: Run, pictures: Sequence[str | Path], runtime: str = PYTORCH) -> list[dict[str, Any]]:
        """As ``Trainer.classify``, and each answer has an ``id`` by which its truth is told.

        Raises what that raises. Statistics that cannot be kept cost nobody an answer: it comes without an id.
        """
        began = time.monotonic()
        try:
            rows = self._trainer.classify(run, pictures, runtime, watch=True)
        except (InvalidValue, InvalidFile, NotFound):
            raise
        except WorkbenchError:
            metrics.CLASSIFIED.labels(runtime, "failed").inc(len(pictures))
            raise
        metrics.CLASSIFY_SECONDS.labels(runtime).observe(time.monotonic() - began)
        good = [row for row in rows if "error" not in row]
        metrics.CLASSIFIED.labels(runtime, "answered").inc(len(good))
        metrics.CLASSIFIED.labels(runtime, "unreadable").inc(len(rows) - len(good))
        for row in good:
            metrics.CLASSIFY_CONFIDENCE.observe(row["score"])
        numbers = {name: number for number, name in enumerate(run.record().classes)}
        handle, now = self._handle(run.id), time.time()
        answers = [
            Answer(
                f"{handle}{secrets.token_hex(16)}", now, numbers[row["label"]], row["score"], row["milliseconds"], runtime
            )
            for row in good
        ]
        with suppress(OSError, JobFailed):
            (run.folder / FOLDER).mkdir(exist_ok=True)
            self._ledger(run).add(answers, len(rows) - len(good))
            for row, answer in zip(good, answers, strict=True):
                row["id"] = answer.id
        self._refer(run)
        return rows

    def tell(self, id: str, label: str) -> dict[str, Any]:
        """The truth of an answer; ``id``, ``label``, ``truth`` and ``right``.

        Raises NotFound for an answer that is not there (any more), InvalidValue for what is no class of its run.
        """
        run = self._run_of(id)
        classes = run.record().classes
        if not isinstance(label, str) or label not in classes:
            more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
            raise InvalidValue("label", label, f"a class of this run: {', '.join(classes[:SHOWN])}{more}")
        truth = classes.index(label)
        answer = self._ledger(run).tell(id, truth)
        right = answer.label == truth
        metrics.CLASSIFY_TRUTHS.labels("right" if right else "wrong").inc()
        said = classes[answer.label] if 0 <= answer.label < len(classes) else ""
        return {"id": id, "label": said, "truth": label, "right": right}

    def monitor(self, run: Run) -> dict[str, Any]:
        """``lib/train/watch/monitor.py`` says what is in it. Raises NotFound where the run is gone, JobFailed where its
        ledger cannot be read."""
        ledger = self._ledger(run)
        drift, why = self._drift(run)
        return monitor(run.read(), ledger.answers(), ledger.sums(), drift, why)

    def lit(self) -> dict[str, int]:
        """By test, the runs served lately whose light is on."""
        with self._lock:
            folders = list(self._ledgers)
        found = [lights_of(self._drift(Run(Path(folder)))[0], "") for folder in folders]
        return {kind: sum(bool(lights[kind]["flagged"]) for lights in found) for kind in ("inputs", "model")}

    def forget(self, run: Run) -> None:
        """Before the run is deleted."""
        with self._lock:
            job, ledger = self._making.get(run.id), self._ledgers.pop(str(run.folder), None)
            self._failed.pop(run.id, None)
        if job is not None:
            job.cancel()
        if ledger is not None:
            ledger.close()

    def close(self) -> None:
        with self._lock:
            ledgers, self._ledgers = list(self._ledgers.values()), OrderedDict()
        for ledger in ledgers:
            ledger.close()

    # -- answers --------------------------------------------------------------------------------

    def _ledger(self, run: Run) -> Ledger:
        with self._lock:
            key = str(run.folder)
            found = self._ledgers[key] = self._ledgers.pop(key, None) or Ledger(run.folder / FOLDER)
            old = [self._ledgers.popitem(last=False)[1] for _ in range(len(self._ledgers) - OPEN)]
        for one in old:
            one.close()  # whoever still has it opens it again
        return found

    def _handle(self, run: str) -> str:
        """Says whose answer an id is; nobody finds the run's id from it."""
        return hashlib.sha256(f"answers {run} {self._trainer.visitors.salt()}".encode()).hexdigest()[:16]

    def _run_of(self, id: str) -> Run:
        gone = NotFound(f"There is no answer of this id (any more): the last {KEPT:,} of a run are kept.")
        if not isinstance(id, str) or not ANSWER.fullmatch(id):
            raise gone
        with self._lock:
            known = self._handles.get(id[:16])
        if known is None or not known.is_dir():
            if (known := next((f for f in self._folders() if self._handle(f.name) == id[:16]), None)) is None:
                raise gone
            with self._lock:
                self._handles[id[:16]] = known
                while len(self._handles) > HANDLES:
                    self._handles.popitem(last=False)
        return Run(known)

    def _folders(self) -> Iterator[Path]:
        return (f for f in (self._trainer.home / "visitors").glob("*/runs/*") if ID.fullmatch(f.name))

    # -- drift ----------------------------------------------------------------------------------

    def _drift(self, run: Run) -> tuple[Mapping[str, Any], str]:
        """What the serving process wrote; and why there is nothing, in words."""
        if self._has_reference(run):
            about, said = (read_json(run.folder / FOLDER / name, MAX_BYTES) for name in (ABOUT, DRIFT))
            ours = isinstance(said, dict) and isinstance(about, dict) and said.get("reference") == about.get("id")
            return (said if ours else {}), ""
        with self._lock:
            if run.id in self._making:
                return {}, "Pictures of the training are being looked at, to compare new ones with."
            if run.id in self._failed:
                return {}, self._failed[run.id][1]
        return {}, "With the next request, pictures of the training are looked at, to compare new ones with."

    def _has_reference(self, run: Run) -> bool:
        """Made of the weights that the run has now, by code as it is now."""
        about = read_json(run.folder / FOLDER / ABOUT, MAX_BYTES)
        ours = isinstance(about, dict) and about.get("version") == VERSION
        return ours and about.get("weights") == stamp(run.folder) and (run.folder / FOLDER / ARRAYS).is_file()

    def _refer(self, run: Run) -> None:
        """Has the reference made where there is none, one run at a time, beside everything else."""
        if self._has_reference(run):
            return
        with self._lock:
            failed = self._failed.get(run.id)
            if self._making or (failed and time.monotonic() - failed[0] < RETRY):
                return
            try:
                arguments = {"run": str(run.folder), "data": str(self._trainer.home_of(run))}
                backbones = list(self._trainer.settings.train_backbones)
                job = self._trainer.job("lib.train.watch.tasks:reference", arguments | {"backbones": backbones})
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
        self._failed[run.id] = time.monotonic(), f"Drift cannot be told: {error.message}"
