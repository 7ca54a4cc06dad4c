"""Runs on disk: one folder per run. The record is written first and updated last.

A run's id is ``<YYYYmmdd-HHMMSS>-<name>-<hex>``; the random hex makes it unguessable. A process that works on a run
holds its lock, and so does a process whose run waits in the queue. A record that says "running" or "waiting" without
a lock is reported as interrupted.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue, JobFailed, NotFound
from lib.train.evaluation import Evaluation
from lib.train.run_metrics import RunMetrics
from lib.train.run_record import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, WAITING, RunRecord
from lib.train.schema import parse

__all__ = ["DONE", "FAILED", "INTERRUPTED", "RUNNING", "STOPPED", "WAITING", "Run", "Runs"]
ID = re.compile(r"\d{8}-\d{6}-[a-z0-9-]{1,40}-[0-9a-f]{16}")
MAX_RECORD = 16 << 20  # bytes
MAX_METRICS = 8 << 20
RECORD, LOCK, TURN, METRICS = "run.json", "run.lock", "turn.lock", "metrics.jsonl"
EVALUATION = "evaluation.json"
# types that readers of a record rely on: the training process writes it, and a compromised one could write anything
SHAPES: dict[str, type] = dict.fromkeys(
    ("recipe", "data", "weights", "environment", "split", "files", "result", "again"), dict
)
SHAPES |= {"epochs": list, "classes": list, "name": str, "status": str, "error": str}


class Run:
    """A run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.id = folder, folder.name

    def record(self) -> RunRecord:
        """Returns the record with its current ``status``. Raises NotFound if there is none (any more)."""
        return RunRecord.parse(self.read())

    def read(self) -> dict[str, Any]:
        """Returns the record as the JSON of the REST and Python APIs. Raises NotFound if there is none (any more)."""
        record = read_json(self.folder / RECORD, MAX_RECORD)
        if not isinstance(record, dict):
            raise NotFound(f"There is no run {self.id!r} (any more).")
        record = {"status": INTERRUPTED} | {k: v for k, v in record.items() if isinstance(v, SHAPES.get(k, object))}
        if record["status"] in (WAITING, RUNNING) and not self.locked and not _held(self.folder / TURN):
            record["status"] = INTERRUPTED
        return record | {"id": self.id}

    def write(self, record: dict[str, Any]) -> None:
        """Write the record atomically."""
        unfinished = self.folder / f"{RECORD}.part"
        unfinished.write_text(json.dumps(record, indent=1))
        unfinished.replace(self.folder / RECORD)

    def update(self, **changes: Any) -> dict[str, Any]:
        record = self.read() | changes
        self.write(record)
        return record

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock while a process works on the run; the kernel releases it when that process dies.

        Raises JobFailed if another process holds it.
        """
        with _opened(self.folder / LOCK) as file:
            for last in (False,) * 20 + (True,):  # another process takes it briefly in ``_held``
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if last:
                        raise JobFailed(f"The run {self.id} is in use by another process.") from None
                    time.sleep(0.02)
            yield

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a shared lock while the run is queued and while its job is followed."""
        with _opened(self.folder / TURN) as file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield

    @property
    def locked(self) -> bool:
        return _held(self.folder / LOCK)

    def log(self, values: dict[str, Any]) -> None:
        """Append a line of metrics."""
        with (self.folder / METRICS).open("a") as file:
            file.write(json.dumps(values) + "\n")

    def evaluation(self) -> Evaluation | None:
        """Returns what ``lib/train/evaluation_file.py`` wrote, or None if the file is missing or damaged."""
        return parse(Evaluation, read_json(self.folder / EVALUATION, MAX_RECORD))

    def metrics(self) -> RunMetrics:
        return RunMetrics.parse(self._lines())

    def _lines(self) -> list[dict[str, Any]]:
        """Returns the lines written by ``log``, without a line truncated by a kill."""
        path, rows = self.folder / METRICS, []
        with suppress(OSError):
            if not _is_plain(path, MAX_METRICS):
                return []
            for line in path.read_text(errors="replace").splitlines():
                with suppress(ValueError, RecursionError):
                    if isinstance(values := json.loads(line), dict):
                        rows.append(values)
        return rows

    def forget_after(self, epoch: int) -> None:
        """Drop metrics of epochs after ``epoch``: a resumed run logs them again."""
        kept = [line for line in self._lines() if line.get("epoch", 0) <= epoch]
        temporary = self.folder / f"{METRICS}.new"  # a kill while it is written must not lose the metrics
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(temporary, self.folder / METRICS)


class Runs:
    """A visitor's runs: the folders in ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def new(self, name: str, record: dict[str, Any]) -> Run:
        """Create the folder and write the record, with status "waiting"."""
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "run"
        self.home.mkdir(parents=True, exist_ok=True)
        while True:
            run = Run(self.home / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}-{secrets.token_hex(8)}")
            with suppress(FileExistsError):
                run.folder.mkdir()
                break
        (run.folder / LOCK).touch()
        run.write({"name": printable(name)[:80] or slug, "status": WAITING, "created": time.time()} | record)
        return run

    def find(self, id: str) -> Run:
        """Returns the run with this id. Raises InvalidValue for a malformed id, NotFound if there is no such run."""
        if not isinstance(id, str) or not ID.fullmatch(id):
            raise InvalidValue("run", id, "the id of a run, from the Python API's /train or GET /runs")
        if not (self.home / id / RECORD).is_file():
            raise NotFound(f"There is no run {id!r} (any more).")
        return Run(self.home / id)

    def records(self) -> Sequence[RunRecord]:
        """Returns the records, newest first."""
        return [RunRecord.parse(values) for values in self.list()]

    def list(self) -> list[dict[str, Any]]:
        """Returns the records as JSON, newest first, limited to the keys in ``SHORT``."""
        records = []
        folders = self.home.iterdir() if self.home.is_dir() else ()
        for folder in sorted(folders, key=lambda f: f.name, reverse=True):
            if ID.fullmatch(folder.name):
                with suppress(NotFound):
                    records.append({k: v for k, v in Run(folder).read().items() if k in SHORT})
        return records

    def delete(self, id: str) -> None:
        """Delete a run. Raises JobFailed while a process works on it."""
        run = self.find(id)
        if run.locked:
            raise JobFailed("This run is under way. Stop it first.")
        trash = self.home / f".gone-{secrets.token_hex(8)}"
        with suppress(OSError):  # rename first: a process that still writes cannot recreate a folder of that name
            run.folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


SHORT = ("id", "name", "status", "created", "seconds", "recipe", "data", "weights", "result", "epochs", "error", "again")


def printable(name: str) -> str:
    """Returns the name without control characters, bidirectional overrides and lone surrogates, each replaced by "?"."""
    return "".join(c if c.isprintable() else "?" for c in name)


@contextmanager
def _opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    """Open a lock file and create it if missing. Does not block on a pipe and does not follow a link."""
    file = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        yield file
    finally:
        os.close(file)


def _held(path: Path) -> bool:
    """Returns whether a process holds a lock on ``path``."""
    try:
        with _opened(path, os.O_RDONLY) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _is_plain(path: Path, most: int) -> bool:
    """Returns whether ``path`` is a regular file of at most ``most`` bytes, not a link or a pipe (reading could block)."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size <= most


def read_json(path: Path, most: int = MAX_RECORD) -> Any:
    """Returns the parsed content of a regular file, or None if it is missing, too large or not JSON."""
    try:
        if not _is_plain(path, most):
            return None
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
