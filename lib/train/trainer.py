"""Manages visitors' runs and queues training jobs for the app. Opens no images and imports no framework."""

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
NICE = 10  # yields the CPU to image requests and conversions
MAX_RUNS, MAX_UNDER_WAY = 100, 16  # per visitor


class Trainer:
    """Runs and trainings. ``visitors`` maps owners to folders, ``data`` manages datasets, ``monitoring`` served runs."""

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
            trainings = list(self._under_way.values())
        for training in trainings:
            training.stop()
        for training in trainings:
            training.done.wait(5)
        self._data_jobs.close()
        self._jobs.close()
        self.classify.close()
        self.monitoring.close()

    def status(self) -> dict[str, int]:
        return self._jobs.status()

    def warm(self) -> None:
        """Import the frameworks in the background so that the first training starts faster. Returns immediately."""
        threading.Thread(target=self._jobs.start, daemon=True).start()

    def runs(self, owner: str) -> Runs:
        return Runs(self.visitors.folder(owner) / "runs")

    def find(self, id: str) -> Run:
        """Returns a run by id, regardless of its owner: ids cannot be guessed. Raises InvalidValue or NotFound."""
        if isinstance(id, str) and ID.fullmatch(id):
            for folder in (home / "runs" for home in self.visitors.folders()):
                with suppress(WorkbenchError):
                    return Runs(folder).find(id)
        return Runs(self.home / "none").find(id)

    def backbones(self) -> dict[str, backbones.Backbone]:
        return backbones.listed(self.settings.train_backbones)

    def estimate(self, recipe: Recipe, summary: DataSummary) -> float:
        """Returns the estimated training time in seconds, without the time spent in the queue."""
        train, evaluated = _counts(recipe, summary)
        return self.speeds.estimate(recipe, train, evaluated)

    def train(self, owner: str, data: str, recipe: Recipe, name: str = "") -> RunningTraining:
        """Write the run's record and queue the job. Raises InvalidValue, NotFound or QueueFull."""
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
        """Resume a run that was stopped or interrupted, or that failed. Raises JobFailed for any other status."""
        record = run.record()
        if record.status not in (STOPPED, INTERRUPTED, FAILED):
            raise JobFailed(f"This run is {record.status}; only a stopped or interrupted one can be resumed.")
        owner, recipe = self._owner_of(run), record.used_recipe()
        summary = self.data.summary(owner, record.data.id)
        self._cancel_evaluation(run)
        return self._start(owner, run, "train", {"recipe": record.recipe, "resume": True}, summary, recipe)

    def reproduce(self, run: Run) -> RunningTraining:
        """Train again from a run's record, as a new run. Raises JobFailed unless the run is done."""
        record = run.record()
        if record.status != DONE:
            raise JobFailed(f"This run is {record.status}; only one that is done can be reproduced.")
        owner, recipe = self._owner_of(run), record.used_recipe()
        summary = self.data.summary(owner, record.data.id)
        self._check_quota(owner)
        new_run = self.runs(owner).new(f"{record.name}-again", {"recipe": recipe.as_dict(), "data": asdict(record.data)})
        arguments = {"again": str(new_run.folder), "recipe": recipe.as_dict()}
        return self._start_new(owner, new_run, "reproduce", arguments | {"run": str(run.folder)}, summary, recipe)

    def export(self, run: Run, out: Path) -> Job:
        """Returns a job that writes ``out/model.onnx``."""
        arguments = {"run": str(run.folder), "out": str(out), "backbones": list(self.settings.train_backbones)}
        return self.job(f"{TASKS}:export", arguments)

    def samples(self, run: Run, out: Path) -> Job:
        """Returns a job that writes the validation and test images to ``out/samples.zip`` (``lib/train/handover.py``)."""
        arguments = {"run": str(run.folder), "data": str(self.data_home(run)), "out": str(out)}
        return self.job(f"{TASKS}:samples", arguments)

    def data_home(self, run: Run) -> Path:
        """Returns the folder of the dataset that the run was trained on."""
        return self.data.folder(self._owner_of(run), run.record().data.id)

    def job(self, task: str, arguments: dict[str, Any]) -> Job:
        """Submit ``task`` (as in ``Jobs.submit``) to a child process, separate from the training queue."""
        seconds = max(self.settings.job_seconds, self.settings.convert_seconds)
        limits = replace(self._data_limits, nice=5, wall_seconds=seconds, cpu_seconds=4 * seconds)
        return self._data_jobs.submit(task, arguments, limits=limits)

    def monitor(self, run: Run) -> MonitorReport:
        """Returns the monitoring report of a served run (``monitoring.classify``). Raises NotFound or JobFailed."""
        return self.monitoring.report(run)

    def under_way(self, run: str) -> RunningTraining | None:
        return self._under_way.get(run)

    def of(self, owner: str) -> list[RunningTraining]:
        """Returns the owner's active trainings, oldest first."""
        home = self.runs(owner).home
        with self._lock:
            return [training for training in self._under_way.values() if training.run.folder.parent == home]

    def queue_position(self, one: RunningTraining) -> tuple[int, float]:
        """Returns the 1-based queue position of ``one`` and its estimated wait in seconds, or (0, 0.0) if it runs."""
        with self._lock:
            queue = list(self._under_way.values())
        workers = self.settings.train_jobs
        ahead = queue[: queue.index(one)] if one in queue else []
        if one.started is not None or len(ahead) < workers:
            return 0, 0.0
        free = [training.remaining() for training in ahead[:workers]]  # seconds until each worker is free
        for training in ahead[workers:]:
            free[free.index(min(free))] += training.expected
        return len(ahead) - workers + 1, min(free)

    def delete(self, run: Run) -> None:
        if run.id in self._under_way:
            raise JobFailed("This run is under way. Stop it first.")
        self._cancel_evaluation(run)
        self.monitoring.forget(run)
        Runs(run.folder.parent).delete(run.id)

    def sweep(self) -> None:
        """Stop abandoned trainings and remove visitors inactive for ``TRAIN_DAYS`` days."""
        for training in list(self._under_way.values()):
            if training.abandoned():
                training.stop()
        limit = time.time() - self.settings.train_days * 86400
        for home in self.visitors.folders():
            with suppress(OSError):
                newest = max((p.stat().st_mtime for p in (home, *home.glob("runs/*"), *home.glob("data/*"))), default=0)
                if home.name != SHARED and newest < limit:
                    shutil.rmtree(home, ignore_errors=True)
            for leftover in home.glob("runs/.gone-*"):  # left by an interrupted deletion
                shutil.rmtree(leftover, ignore_errors=True)
            self.data.sweep(home)

    def _uses(self, owner: str, id: str) -> bool:
        return any(record.data.id == id for record in self.runs(owner).records())

    def _trains(self, owner: str, id: str) -> bool:
        return any(training.run.record().data.id == id for training in self.of(owner))

    def _check_quota(self, owner: str) -> None:
        """Check the owner's limits. Raises QueueFull or InvalidValue if exceeded, JobFailed if the disk is full."""
        if len(self.runs(owner).list()) >= MAX_RUNS:
            raise QueueFull(MAX_RUNS) if owner == SHARED else InvalidValue("runs", MAX_RUNS, "fewer; delete some first")
        if owner != SHARED and len(self.of(owner)) >= MAX_UNDER_WAY:
            raise QueueFull(MAX_UNDER_WAY)
        self.visitors.check_disk()

    def _start_new(self, owner: str, run: Run, *given: Any) -> RunningTraining:
        """Start a new run; delete its folder if it cannot be queued."""
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
        paths = {"run": str(run.folder), "data": data} | arguments
        options = {"trackers": list(self.settings.trackers), "backbones": list(self.settings.train_backbones)}
        with self._lock:
            if run.id in self._under_way:
                raise JobFailed("This run is under way already.")
            job = self._jobs.submit(f"{TASKS}:{task}", paths | options, limits=self._training)

            def on_end(one: RunningTraining) -> None:
                try:
                    record = one.run.record() if one.result else RunRecord()
                    epochs = sum(epoch.seconds for epoch in record.epochs)
                    measured = _is_duration(record.seconds) and _is_duration(epochs)
                    if record.status == DONE and not arguments.get("resume") and measured:
                        self.speeds.learn(recipe, *_counts(recipe, summary), epochs=epochs, whole=record.seconds)
                except WorkbenchError:  # the record was deleted or cannot be read
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
        """Evaluate the best epoch of a stopped run in the background."""
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
        """Returns whether the best epoch of a stopped run is being evaluated."""
        return run.id in self._evaluations

    def _cancel_evaluation(self, run: Run) -> None:
        """Cancel the run's background evaluation, which would hold its lock."""
        if (evaluation := self._evaluations.get(run.id)) is not None:
            job, thread = evaluation
            job.cancel()
            thread.join(5)


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < 1e9


def _counts(recipe: Recipe, summary: DataSummary) -> tuple[int, int]:
    """Returns the number of training images, and of validation and test images together."""
    return max(1, summary.pictures("train")), summary.pictures("val") + summary.pictures("test")
