"""Logs a served run's predictions in SQLite in the run's folder. Stores numbers only: no image, file name or visitor.

One row for each of the last ``KEPT`` images: time, class, confidence, latency, runtime, and the true label if it was
sent; plus all-time totals. Supports several writing processes. Deleted with the run.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lib.errors import JobFailed, NotFound
from lib.train.schema import parse_fields

KEPT = 10_000  # predictions
VERSION = 1
MAX_BYTES = 64 << 20  # ten times the size of KEPT rows: a larger file is not ours
PATIENCE = 10.0  # seconds to wait for another process's lock
LONGEST = 5.0  # timeout of a statement in seconds: a malicious file could make it run forever
FOREIGN = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR")  # a damaged file or unknown tables; not a full disk
SUMS = ("pictures", "unreadable", "truths", "right")
SCHEMA = f"""
CREATE TABLE answers (id TEXT PRIMARY KEY, at REAL, label INTEGER, score REAL, milliseconds REAL, runtime TEXT,
                      truth INTEGER, told REAL) WITHOUT ROWID;
CREATE INDEX answers_at ON answers (at);
CREATE TABLE sums (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
INSERT INTO sums VALUES {", ".join(f"('{name}', 0)" for name in (*SUMS, "since"))};
UPDATE sums SET value = CAST(strftime('%s', 'now') AS INTEGER) WHERE name = 'since';
PRAGMA user_version = {VERSION};
"""
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Prediction:
    """``label`` and ``truth``, the true label, are class indices. ``score`` is the probability of ``label``, 0 to 1.

    ``at`` is the time of the prediction, ``told`` that of its true label, in seconds since 1970.
    """

    id: str
    at: float
    label: int
    score: float
    milliseconds: float
    runtime: str
    truth: int | None = None
    told: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All-time counts: classified ``pictures``, ``unreadable`` ones, true labels sent (``truths``), and how many predictions
    were ``right``. ``since`` is in seconds since 1970, None before the first.
    """

    pictures: int = 0
    unreadable: int = 0
    truths: int = 0
    right: int = 0
    since: int | None = None


class PredictionLog:
    """The log of one run; ``folder`` is its ``watch/``. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        self._lock, self._open = threading.Lock(), None

    def add(self, predictions: Sequence[Prediction], unreadable: int = 0) -> None:
        """Append predictions and drop the oldest beyond ``KEPT``. Raises JobFailed if they cannot be written."""
        rows = [(a.id, a.at, a.label, a.score, a.milliseconds, a.runtime) for a in predictions]

        def write(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT INTO answers (id, at, label, score, milliseconds, runtime) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            _sum(db, pictures=len(rows), unreadable=unreadable)
            (count,) = db.execute("SELECT count(*) FROM answers").fetchone()
            if count > KEPT:
                oldest = "SELECT id FROM answers ORDER BY at LIMIT ?"
                db.execute(f"DELETE FROM answers WHERE id IN ({oldest})", (count - KEPT,))

        self._do(write)

    def set_label(self, id: str, truth: int) -> Prediction:
        """Store the true label of a prediction and return the prediction; a repeated call overwrites the label.

        Raises NotFound if the id is unknown or its row was dropped.
        """

        def write(db: sqlite3.Connection) -> Prediction | None:
            matches = _predictions(db, "WHERE id = ?", (id,))
            if not matches:
                return None
            previous, right = matches[0].truth, int(matches[0].label == truth)
            db.execute("UPDATE answers SET truth = ?, told = ? WHERE id = ?", (truth, time.time(), id))
            _sum(db, truths=int(previous is None), right=right - int(previous is not None and previous == matches[0].label))
            return matches[0]

        if (prediction := self._do(write)) is None:
            raise NotFound(f"There is no answer with this id (any more): a run keeps its last {KEPT:,}.")
        return prediction

    def predictions(self) -> list[Prediction]:
        """Returns the stored predictions, oldest first."""
        if not self.path.exists():
            return []
        return self._do(lambda db: _predictions(db, "ORDER BY at LIMIT ?", (KEPT,)), "BEGIN")

    def totals(self) -> Totals:
        """Returns the all-time totals, which include dropped predictions."""
        if not self.path.exists():
            return Totals()
        rows = self._do(lambda db: db.execute("SELECT name, value FROM sums LIMIT 9").fetchall(), "BEGIN")
        return parse_fields(Totals, dict(rows))

    def close(self) -> None:
        with self._lock:
            self._close()

    def _do(self, work: Callable[[sqlite3.Connection], Found], begin: str = "BEGIN IMMEDIATE") -> Found:
        """Run ``work`` in one transaction. A file that is not a prediction log is replaced by an empty one."""
        with self._lock:
            for last in (False, True):
                try:
                    db = self._connection()
                    self._deadline = time.monotonic() + LONGEST
                    with db:
                        db.execute(begin)
                        return work(db)
                except (sqlite3.Error, OSError) as error:
                    self._close()
                    if last or getattr(error, "sqlite_errorname", "") not in FOREIGN:
                        raise JobFailed("The statistics of this run cannot be read or written now.") from error
                    self._remove()
            raise AssertionError("unreachable")

    def _connection(self) -> sqlite3.Connection:
        if self._open is not None and self._same():
            return self._open
        self._close()
        with suppress(FileNotFoundError):
            status = self.path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                self._remove()
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        self._open, self._deadline = db, time.monotonic() + LONGEST + PATIENCE
        db.set_progress_handler(lambda: time.monotonic() > self._deadline, 100_000)
        for pragma in ("trusted_schema = OFF", "journal_mode = WAL", "synchronous = NORMAL"):
            db.execute(f"PRAGMA {pragma}")
        self._inode = self.path.stat().st_ino
        with db:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone() == (0,):  # a new file
                for statement in SCHEMA.split(";")[:-1]:
                    db.execute(statement)
        return db

    def _same(self) -> bool:
        """Returns whether the open file is still the one at this path; another process may have replaced it."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino == self._inode
        except OSError:
            return False

    def _close(self) -> None:
        if self._open is not None:
            with suppress(sqlite3.Error):
                self._open.close()
            self._open = None

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                Path(f"{self.path}{suffix}").unlink()


def _sum(db: sqlite3.Connection, **more: int) -> None:
    db.executemany("UPDATE sums SET value = value + ? WHERE name = ?", [(count, name) for name, count in more.items()])


def _predictions(db: sqlite3.Connection, where: str, given: Sequence[Any]) -> list[Prediction]:
    """Returns the rows with valid types; rows that this code did not write are skipped."""
    rows = db.execute(f"SELECT id, at, label, score, milliseconds, runtime, truth, told FROM answers {where}", given)
    predictions = []
    for id, at, label, score, milliseconds, runtime, truth, told in rows:
        numbers = all(isinstance(x, float) for x in (at, score, milliseconds)) and isinstance(label, int)
        if numbers and isinstance(id, str) and isinstance(runtime, str) and isinstance(truth, int | None):
            predictions.append(Prediction(id, at, label, score, milliseconds, runtime, truth, told))
    return predictions
