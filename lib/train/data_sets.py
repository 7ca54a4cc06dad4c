"""The datasets available for training: built in, from the Hub, or uploaded. Only child processes open their images."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue, JobFailed, NotFound
from lib.jobs import Job, Jobs, Limits
from lib.settings import Settings
from lib.train.data_summary import DataSummary
from lib.train.datasets import MAKERS
from lib.train.runs import printable, read_json
from lib.train.schema import parse_fields
from lib.train.visitors import SHARED, Visitors

TASKS = "lib.train.data_tasks"
MAX_UPLOADED = 10  # uploads per visitor
UNFINISHED_SECONDS = 3600  # age at which the remains of a killed upload job are removed


class DataSets:
    """Creates, finds and deletes datasets.

    ``trains(owner, id)`` tells whether an active training uses a dataset, ``used(owner, id)`` whether any run does.
    """

    def __init__(
        self,
        settings: Settings,
        visitors: Visitors,
        jobs: Jobs,
        limits: Limits,
        *,
        trains: Callable[[str, str], bool],
        used: Callable[[str, str], bool],
    ) -> None:
        self._settings, self._visitors, self._jobs, self._limits = settings, visitors, jobs, limits
        self._trains, self._used = trains, used

    def upload(self, owner: str, archive: Path, name: str) -> tuple[str, Job]:
        """Submit a job that turns a zip into a dataset of the owner.

        Returns the dataset's id and the job, whose result is the summary.
        """
        self._visitors.check_disk()
        folder = self._visitors.folder(owner) / "data"
        folder.mkdir(parents=True, exist_ok=True)
        for previous in sorted(folder.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)[MAX_UPLOADED - 1 :]:
            if not self._used(owner, previous.name):
                shutil.rmtree(previous, ignore_errors=True)
        id = secrets.token_hex(16)
        (folder / id).mkdir()
        return id, self._job("take", archive=str(archive), name=printable(name)[:120], home=str(folder / id))

    def make(self, name: str) -> tuple[str, Job]:
        """Submit a job for a built-in dataset, or for ``hub:owner/name`` if it is listed in the settings.

        Returns the id and the job. Raises InvalidValue for any other name.
        """
        names = [*MAKERS, *(f"hub:{n}" for n in self._settings.train_hub)]
        if name not in names:
            raise InvalidValue("dataset", name, ", ".join(names))
        home = self.folder(SHARED, name)
        if name in MAKERS:
            return name, self._job("make", name=name, home=str(home))
        if (home / "data.json").is_file():
            return name, self._job("describe", name=name, home=str(home))
        shutil.rmtree(home, ignore_errors=True)  # left by an interrupted fetch
        return name, self._job("fetch", name=name, home=str(home), allowed=True)

    def remember(self, owner: str, id: str, answer: dict[str, Any]) -> DataSummary:
        """Store the summary returned by a data job, so that a page reload needs no further job."""
        summary = parse_fields(DataSummary, answer)
        home = self.folder(owner, id)
        if home.is_dir():
            (home / "summary.json").write_text(json.dumps(asdict(summary)))
        return summary

    def summary(self, owner: str, id: str) -> DataSummary:
        """Returns the stored summary. Raises NotFound if the dataset is gone."""
        values = read_json(self.folder(owner, id) / "summary.json")
        if not isinstance(values, dict):
            raise NotFound("This data set is no longer here. Choose or upload it again.")
        return parse_fields(DataSummary, values)

    def delete(self, owner: str, id: str) -> None:
        """Delete an upload of the owner. Raises JobFailed while a training uses it, InvalidValue for other datasets."""
        if not re.fullmatch(r"[0-9a-f]{32}", id or ""):
            raise InvalidValue("dataset", id, "a data set that you uploaded; you cannot delete the others")
        if self._trains(owner, id):
            raise JobFailed("A training run uses these pictures. Stop it first.")
        shutil.rmtree(self.folder(owner, id), ignore_errors=True)

    def folder(self, owner: str, id: str) -> Path:
        """Returns the dataset's folder; built-in ones are shared by all owners. Raises InvalidValue for an invalid id."""
        if id in MAKERS:
            return self._visitors.home / "data" / id
        if id.startswith("hub:"):
            return self._visitors.home / "data" / re.sub(r"[^A-Za-z0-9._-]", "-", id)
        if not re.fullmatch(r"[0-9a-f]{32}", id or ""):
            raise InvalidValue("dataset", id, f"{', '.join(MAKERS)}, or one that you uploaded")
        return self._visitors.folder(owner) / "data" / id

    def sweep(self, home: Path) -> None:
        """Remove what killed jobs left in a visitor's folder."""
        for data in home.glob("data/*"):
            with suppress(OSError):
                limit = time.time() - max(UNFINISHED_SECONDS, 2 * self._settings.job_seconds)
                if data.stat().st_mtime < limit and not (data / "summary.json").exists():
                    shutil.rmtree(data, ignore_errors=True)

    def _job(self, task: str, **arguments: Any) -> Job:
        return self._jobs.submit(f"{TASKS}:{task}", arguments, limits=self._limits)
