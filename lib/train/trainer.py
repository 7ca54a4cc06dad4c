"""What the tab calls: runs of visitors, trainings as jobs. Opens no picture and imports no framework."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue, JobFailed, QueueFull, WorkbenchError
from lib.jobs import Job, Jobs, Limits
from lib.settings import Settings
from lib.train import backbones
from lib.train.classify import Classify
from lib.train.data_sets import DataSets
from lib.train.data_summary import DataSummary
from lib.train.monitoring.report import MonitorReport
from lib.train.monitoring.service import Monitoring
from lib.train.recipe import Recipe
from lib.train.run_record import DataReference, RunRecord
from lib.train.running_training import RunningTraining
from lib.train.runs import DONE, FAILED, ID, INTERRUPTED, STOPPED, Run, Runs
from lib.train.speeds import Speeds
from lib.train.training import BEST
from lib.train.visitors import SHARED, Visitors

TASKS = "lib.train.tasks"
NICE = 10  # pictures and conversions go first
MAX_RUNS, MAX_UNDER_WAY = 100, 16  # of one visitor


class Trainer:
    """Runs and trainings. ``visitors`` says whose they are, ``data`` has the data sets, ``monitoring`` what is used."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.home = settings, settings.train_folder
        seconds = settings.train_seconds
        self._data_limits = Limits(
            memory_mb=settings.job_memory_mb,
            wall_seconds=settings.job_seconds,
            cpu_seconds=4 * settings.job_seconds,
            file_mb=max(4096, 2 * settings.max_file_mb),
        )
        self._training = Limits(
            memory_mb=settings.train_memory_mb, wall_seconds=seconds, cpu_seconds=64 * seconds, file_mb=8192, nice=NICE
        )
        self._data_jobs = Jobs(workers=settings.jobs, waiting=settings.queue_size)
        self.visitors = Visitors(self.home, settings.train_shared)
        self.data = DataSets(
            settings, self.visitors, self._data_jobs, self._data_limits, trains=self._trains, used=self._uses
        )
        self._jobs = Jobs(workers=settings.train_jobs, waiting=settings.queue_size, preload=("lib.train.preload",))
        self.classify = Classify(settings.job_memory_mb, settings.train_backbones)
        self.monitoring = Monitoring(self)
        self.speeds = Speeds(self.home / "speeds.json")
        self._lock, self._under_way = threading.Lock(), dict[str, RunningTraining]()  # by run id
        self._evaluations: dict[str, tuple[Job, threading.Thread]] = {}  # by run id

    def close(self) -> None:
        with self._lock:
            some = list(self._under_way.values())
        for one in some:
            one.stop()
        for one in some:
            one.done.wait(5)
        self._data_jobs.close()
        self._jobs.close()
        self.classify.close()
        self.monitoring.close()

    def status(self) -> dict[str, int]:
        return self._jobs.status()

    def warm(self) -> None:
        """Has the frameworks imported by the time a training starts. Returns at once."""
        threading.Thread(target=self._jobs.start, daemon=True).start()

    def runs(self, owner: str) -> Runs:
        return Runs(self.visitors.folder(owner) / "runs")

    def find(self, id: str) -> Run:
        """A run by its id, whoever made it: the id itself cannot be guessed. Raises InvalidValue or NotFound."""
        if isinstance(id, str) and ID.fullmatch(id):
            for folder in (home / "runs" for home in self.visitors.folders()):
                with suppress(WorkbenchError):
                    return Runs(folder).find(id)
        return Runs(self.home / "none").find(id)

    def backbones(self) -> dict[str, backbones.Backbone]:
        return backbones.listed(self.settings.train_backbones)

    def estimate(self, recipe: Recipe, summary: DataSummary) -> float:
        """Seconds that a training will take here, its turn in the queue not counted."""
        train, others = _counts(recipe, summary)
        return self.speeds.estimate(recipe, train, others)

    def train(self, owner: str, data: str, recipe: Recipe, name: str = "") -> RunningTraining:
        """Writes the record and queues the job. Raises InvalidValue, NotFound or QueueFull."""
        backbones.choose(recipe.backbone, self.settings.train_backbones, recipe.framework)
        if recipe.threads > (most := os.cpu_count() or 1):
            raise InvalidValue("threads", recipe.threads, f"a whole number from 0 to {most} on this machine")
        summary = self.data.summary(owner, data)
        self._check_quota(owner)
        reference = DataReference(
            id=data,
            name=summary.name or data,
            fingerprint=summary.fingerprint,
            count=summary.count,
            classes=len(summary.classes),
        )
        record = {"recipe": recipe.as_dict(), "data": asdict(reference)}
        run = self.runs(owner).new(name or reference.name, record)
        return self._start_new(owner, run, "train", {"recipe": recipe.as_dict()}, summary, recipe)

    def resume(self, run: Run) -> RunningTraining:
        """Goes on with a run that was stopped or interrupted. Raises JobFailed for another."""
        record = run.record()
        if record.status not in (STOPPED, INTERRUPTED, FAILED):
            raise JobFailed(f"This run is {record.status}; only a stopped or interrupted one can go on.")
        owner, recipe = self._owner_of(run), record.used_recipe()
        summary = self.data.summary(owner, record.data.id)
        self._cancel_evaluation(run)
        return self._start(owner, run, "train", {"recipe": record.recipe, "resume": True}, summary, recipe)

    def reproduce(self, run: Run) -> RunningTraining:
        """Trains a run again, by its record, in a run of its own. Raises JobFailed for one that has not ended."""
        record = run.record()
        if record.status != DONE:
            raise JobFailed(f"This run is {record.status}; only one that is done can be reproduced.")
        owner, recipe = self._owner_of(run), record.used_recipe()
        summary = self.data.summary(owner, record.data.id)
        self._check_quota(owner)
        again = self.runs(owner).new(f"{record.name}-again", {"recipe": recipe.as_dict(), "data": asdict(record.data)})
        arguments = {"again": str(again.folder), "recipe": recipe.as_dict()}
        return self._start_new(owner, again, "reproduce", arguments | {"run": str(run.folder)}, summary, recipe)

    def export(self, run: Run, out: Path) -> Job:
        """A job that writes ``out/model.onnx``."""
        arguments = {"run": str(run.folder), "out": str(out), "backbones": list(self.settings.train_backbones)}
        return self.job(f"{TASKS}:export", arguments)

    def samples(self, run: Run, out: Path) -> Job:
        """A job that writes ``out/samples.zip``: the run's validation and test pictures (``lib/train/handover.py``)."""
        arguments = {"run": str(run.folder), "data": str(self.data_home(run)), "out": str(out)}
        return self.job(f"{TASKS}:samples", arguments)

    def data_home(self, run: Run) -> Path:
        """Of the data set that the run was trained on."""
        return self.data.folder(self._owner_of(run), run.record().data.id)

    def job(self, task: str, arguments: dict[str, Any]) -> Job:
        """Beside the trainings, in a child process; ``task`` as ``Jobs.submit`` takes it."""
        seconds = max(self.settings.job_seconds, self.settings.convert_seconds)
        limits = replace(self._data_limits, nice=5, wall_seconds=seconds, cpu_seconds=4 * seconds)
        return self._data_jobs.submit(task, arguments, limits=limits)

    def monitor(self, run: Run) -> MonitorReport:
        """Of a run that is used (``monitoring.classify``). Raises NotFound or JobFailed."""
        return self.monitoring.report(run)

    def under_way(self, run: str) -> RunningTraining | None:
        return self._under_way.get(run)

    def of(self, owner: str) -> list[RunningTraining]:
        """The owner's trainings under way, the oldest first."""
        home = self.runs(owner).home
        with self._lock:
            return [one for one in self._under_way.values() if one.run.folder.parent == home]

    def queue_position(self, one: RunningTraining) -> tuple[int, float]:
        """The number of ``one`` in the queue, 1 for the next, and about how many seconds it will wait; 0, 0.0: it runs."""
        with self._lock:
            line = list(self._under_way.values())
        workers = self.settings.train_jobs
        before = line[: line.index(one)] if one in line else []
        if one.started is not None or len(before) < workers:
            return 0, 0.0
        free = [other.remaining() for other in before[:workers]]  # when each worker is done with what it has
        for other in before[workers:]:
            free[free.index(min(free))] += other.expected
        return len(before) - workers + 1, min(free)

    def delete(self, run: Run) -> None:
        if run.id in self._under_way:
            raise JobFailed("This run is under way. Stop it first.")
        self._cancel_evaluation(run)
        self.monitoring.forget(run)
        Runs(run.folder.parent).delete(run.id)

    def sweep(self) -> None:
        """Stops what nobody looks at, and removes visitors who have not been here for TRAIN_DAYS."""
        for one in list(self._under_way.values()):
            if one.abandoned():
                one.stop()
        limit = time.time() - self.settings.train_days * 86400
        for home in self.visitors.folders():
            with suppress(OSError):
                newest = max((p.stat().st_mtime for p in (home, *home.glob("runs/*"), *home.glob("data/*"))), default=0)
                if home.name != SHARED and newest < limit:
                    shutil.rmtree(home, ignore_errors=True)
            for gone in home.glob("runs/.gone-*"):  # a deletion that was cut off
                shutil.rmtree(gone, ignore_errors=True)
            self.data.sweep(home)

    def _uses(self, owner: str, id: str) -> bool:
        return any(record.data.id == id for record in self.runs(owner).records())

    def _trains(self, owner: str, id: str) -> bool:
        return any(one.run.record().data.id == id for one in self.of(owner))

    def _check_quota(self, owner: str) -> None:
        """Raises QueueFull or InvalidValue where the owner has too much already, JobFailed where the disk is full."""
        if len(self.runs(owner).list()) >= MAX_RUNS:
            raise QueueFull(MAX_RUNS) if owner == SHARED else InvalidValue("runs", MAX_RUNS, "fewer; delete some first")
        if owner != SHARED and len(self.of(owner)) >= MAX_UNDER_WAY:
            raise QueueFull(MAX_UNDER_WAY)
        self.visitors.check_disk()

    def _start_new(self, owner: str, run: Run, *given: Any) -> RunningTraining:
        """A run that finds no place in the queue leaves no folder."""
        try:
            return self._start(owner, run, *given)
        except WorkbenchError:
            shutil.rmtree(run.folder, ignore_errors=True)
            raise

    def _owner_of(self, run: Run) -> str:
        return run.folder.parent.parent.name

    def _start(
        self, owner: str, run: Run, task: str, arguments: dict[str, Any], summary: DataSummary, recipe: Recipe
    ) -> RunningTraining:
        data = str(self.data.folder(owner, run.record().data.id))
        given = {"run": str(run.folder), "data": data} | arguments
        more = {"trackers": list(self.settings.trackers), "backbones": list(self.settings.train_backbones)}
        with self._lock:
            if run.id in self._under_way:
                raise JobFailed("This run is under way already.")
            job = self._jobs.submit(f"{TASKS}:{task}", given | more, limits=self._training)

            def on_end(one: RunningTraining) -> None:
                try:
                    record = one.run.record() if one.result else RunRecord()
                    epochs = sum(epoch.seconds for epoch in record.epochs)
                    known = _is_duration(record.seconds) and _is_duration(epochs)
                    if record.status == DONE and not arguments.get("resume") and known:
                        self.speeds.learn(recipe, *_counts(recipe, summary), epochs=epochs, whole=record.seconds)
                except WorkbenchError:  # the record is gone, or no record any more
                    pass
                finally:
                    with self._lock:
                        self._under_way.pop(run.id, None)
                if one.result is None and (run.folder / BEST).is_file():
                    self._evaluate_stopped(one.run, data)

            one = self._under_way[run.id] = RunningTraining(
                run, job, on_end, keep_running=owner == SHARED, expected=self.estimate(recipe, summary)
            )
        return one

    def _evaluate_stopped(self, run: Run, data: str) -> None:
        """A stopped run keeps its best epoch: that is evaluated, in the background."""
        arguments = {"run": str(run.folder), "data": data, "backbones": list(self.settings.train_backbones)}
        with suppress(WorkbenchError):
            job = self._data_jobs.submit(f"{TASKS}:evaluate", arguments, limits=self._data_limits)

            def follow() -> None:
                with suppress(WorkbenchError):
                    job.result()
                self._evaluations.pop(run.id, None)

            thread = threading.Thread(target=follow, name="evaluation", daemon=True)
            self._evaluations[run.id] = job, thread
            thread.start()

    def evaluating(self, run: Run) -> bool:
        """Whether the best epoch of a run that was stopped is being evaluated."""
        return run.id in self._evaluations

    def _cancel_evaluation(self, run: Run) -> None:
        """Ends such an evaluation, which would hold the run's lock."""
        if (found := self._evaluations.get(run.id)) is not None:
            job, thread = found
            job.cancel()
            thread.join(5)


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < 1e9


def _counts(recipe: Recipe, summary: DataSummary) -> tuple[int, int]:
    """Training pictures, and validation and test pictures, of a data set's summary."""
    return max(1, summary.pictures("train")), summary.pictures("val") + summary.pictures("test")
