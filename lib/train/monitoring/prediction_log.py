"""The predictions of a served run, in SQLite in the run's folder: numbers, never a picture, a name or a visitor.

One row for each of the last ``KEPT`` pictures: when, which class, how sure, how long it took, on which runtime, and the
truth where somebody told it; and sums of everything there ever was. Several processes may write. Deleted with the run.
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

KEPT = 10_000  # answers
VERSION = 1
MAX_BYTES = 64 << 20  # ten times what KEPT rows take: a bigger file is none of ours
PATIENCE = 10.0  # seconds for another process to finish writing
LONGEST = 5.0  # seconds of one statement: a file that somebody planted could ask for ever
FOREIGN = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR")  # a damaged file, or one with other tables; not a full disk
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
    """``label`` and ``truth``, the true label, are numbers of classes. ``score`` is the probability of ``label``, 0 to 1.

    ``at`` is when it was predicted, ``told`` when its true label was sent, in seconds since 1970.
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
    """``pictures`` that were classified and ``unreadable`` ones; ``truths``: how many true labels were sent, and
    how many of these predictions were ``right``. ``since``: seconds since 1970, None before the first."""

    pictures: int = 0
    unreadable: int = 0
    truths: int = 0
    right: int = 0
    since: int | None = None


class PredictionLog:
    """Of one run. ``folder`` is its ``watch/``. Safe to use from many threads."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        self._lock, self._open = threading.Lock(), None

    def add(self, predictions: Sequence[Prediction], unreadable: int = 0) -> None:
        """Raises JobFailed where the disk does not take them."""
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
        """Keeps the true label; if it is sent again, the last one counts.

        Raises NotFound for an id that is not here (any more).
        """

        def write(db: sqlite3.Connection) -> Prediction | None:
            found = _predictions(db, "WHERE id = ?", (id,))
            if not found:
                return None
            before, right = found[0].truth, int(found[0].label == truth)
            db.execute("UPDATE answers SET truth = ?, told = ? WHERE id = ?", (truth, time.time(), id))
            _sum(db, truths=int(before is None), right=right - int(before is not None and before == found[0].label))
            return found[0]

        if (answer := self._do(write)) is None:
            raise NotFound(f"There is no answer of this id (any more): the last {KEPT:,} of a run are kept.")
        return answer

    def predictions(self) -> list[Prediction]:
        """Those kept, the oldest first."""
        if not self.path.exists():
            return []
        return self._do(lambda db: _predictions(db, "ORDER BY at LIMIT ?", (KEPT,)), "BEGIN")

    def totals(self) -> Totals:
        """Everything ever since, and not just the predictions that are kept."""
        if not self.path.exists():
            return Totals()
        rows = self._do(lambda db: db.execute("SELECT name, value FROM sums LIMIT 9").fetchall(), "BEGIN")
        return parse_fields(Totals, dict(rows))

    def close(self) -> None:
        with self._lock:
            self._close()

    def _do(self, work: Callable[[sqlite3.Connection], Found], begin: str = "BEGIN IMMEDIATE") -> Found:
        """In one transaction. A file that is no prediction log is replaced by an empty one."""
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
            found = self.path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
                self._remove()
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        self._open, self._deadline = db, time.monotonic() + LONGEST + PATIENCE
        db.set_progress_handler(lambda: time.monotonic() > self._deadline, 100_000)
        for words in ("trusted_schema = OFF", "journal_mode = WAL", "synchronous = NORMAL"):
            db.execute(f"PRAGMA {words}")
        self._inode = self.path.stat().st_ino
        with db:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone() == (0,):  # a new file
                for statement in SCHEMA.split(";")[:-1]:
                    db.execute(statement)
        return db

    def _same(self) -> bool:
        """Whether the open file is still the one of that name: another process may have replaced it."""
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
    """Rows of the shape that we write; others were written by somebody else."""
    rows = db.execute(f"SELECT id, at, label, score, milliseconds, runtime, truth, told FROM answers {where}", given)
    found = []
    for id, at, label, score, milliseconds, runtime, truth, told in rows:
        numbers = all(isinstance(x, float) for x in (at, score, milliseconds)) and isinstance(label, int)
        if numbers and isinstance(id, str) and isinstance(runtime, str) and isinstance(truth, int | None):
            found.append(Prediction(id, at, label, score, milliseconds, runtime, truth, told))
    return found
