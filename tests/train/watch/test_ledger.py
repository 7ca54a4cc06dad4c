"""What a run keeps of its answers: bounded, told apart, written by many at once, and whole again after damage."""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.errors import JobFailed, NotFound
from lib.train.watch import ledger as ledger_module
from lib.train.watch.ledger import Answer, Ledger

ROOT = Path(__file__).parent.parent.parent.parent


def answer(label: int = 0, at: float | None = None, id: str = "") -> Answer:
    return Answer(id or secrets.token_hex(24), at or time.time(), label, 0.75, 12.5, "pytorch")


def test_answers_and_truths_survive_a_restart(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    assert first.answers() == [] and first.sums()["pictures"] == 0 and not first.path.exists()  # a look makes no file
    some = [answer(label, at) for label, at in ((0, 3.0), (1, 1.0), (2, 2.0))]
    first.add(some, unreadable=2)
    assert first.tell(some[0].id, 0).label == 0
    first.tell(some[1].id, 2)
    first.close()
    again = Ledger(tmp_path)
    assert [a.at for a in again.answers()] == [1.0, 2.0, 3.0]
    assert {a.id: a.truth for a in again.answers()} == {some[0].id: 0, some[1].id: 2, some[2].id: None}
    sums = again.sums()
    assert (sums["pictures"], sums["unreadable"], sums["truths"], sums["right"]) == (3, 2, 2, 1)
    assert abs(sums["since"] - time.time()) < 60


def test_the_last_truth_counts_and_counts_once(tmp_path: Path) -> None:
    ledger, one = Ledger(tmp_path), answer(1)
    ledger.add([one])
    for truth, right in ((1, 1), (1, 1), (0, 0), (1, 1), (2, 0)):
        ledger.tell(one.id, truth)
        sums = ledger.sums()
        assert (sums["truths"], sums["right"]) == (1, right)
    assert ledger.answers()[0].truth == 2


def test_it_is_bounded_and_says_what_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "KEPT", 10)
    ledger, old = Ledger(tmp_path), answer(at=1.0)
    ledger.add([old])
    for k in range(5):
        ledger.add([answer(at=2.0 + k + j / 10) for j in range(3)])
    assert len(ledger.answers()) == 10 and ledger.sums()["pictures"] == 16
    with pytest.raises(NotFound, match="the last"):
        ledger.tell(old.id, 0)
    with pytest.raises(NotFound):
        ledger.tell("' OR 1=1 --", 0)


WRITER = """
import sys, secrets, time
from pathlib import Path
from lib.train.watch.ledger import Answer, Ledger
ledger = Ledger(Path(sys.argv[1]))
for _ in range(40):
    ledger.add([Answer(secrets.token_hex(24), time.time(), 1, 0.5, 1.0, "pytorch")])
"""


def test_several_processes_and_threads_write_at_once(tmp_path: Path) -> None:
    others = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT) for _ in range(3)]
    ledger = Ledger(tmp_path)
    threads = [threading.Thread(target=lambda: [ledger.add([answer()]) for _ in range(40)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0, 0]
    assert ledger.sums()["pictures"] == len(ledger.answers()) == 240


def test_ten_thousand_truths(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    some = [answer(k % 3) for k in range(ledger_module.KEPT)]
    ledger.add(some)
    for one in some:
        ledger.tell(one.id, 0)
    assert ledger.sums()["truths"] == 10_000 and ledger.sums()["right"] == 3334
    ledger.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 << 20


def _text(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _other_tables(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript("CREATE TABLE answers (id); PRAGMA user_version = 1;")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(ledger_module.MAX_BYTES + 1)


@pytest.mark.parametrize("damage", [_text, _pipe, _link, _other_tables, _huge])
def test_a_file_that_is_no_ledger_is_replaced(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    ledger = Ledger(tmp_path)
    damage(ledger.path)
    ledger.add([answer()])
    assert ledger.sums()["pictures"] == 1 and ledger.path.is_file() and not ledger.path.is_symlink()
    assert Path("/etc/passwd").read_text()


def test_a_statement_of_a_planted_file_does_not_run_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LONGEST", 0.2)
    ledger = Ledger(tmp_path)
    with sqlite3.connect(ledger.path) as db:
        endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n"
        names = "id, n AS at, n AS label, n AS score, n AS milliseconds, n AS runtime, n AS truth, n AS told"
        db.executescript(f"CREATE VIEW answers AS {endless} AS {names} FROM c WHERE n < 0; PRAGMA user_version = 1;")
    with pytest.raises(JobFailed):
        ledger.answers()


def test_rows_of_another_shape_are_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add([answer(id="good")])
    ledger.close()
    with sqlite3.connect(ledger.path) as db:
        for values in (("a", "text", 0, 0.5), ("b", 1.0, "text", 0.5), ("c", 1.0, 0, b"blob"), ("d", None, 0, 0.5)):
            row = (*values, 1.0, "pytorch")
            db.execute("INSERT INTO answers (id, at, label, score, milliseconds, runtime) VALUES (?,?,?,?,?,?)", row)
    assert [a.id for a in ledger.answers()] == ["good"]


def test_a_run_that_is_gone_gets_no_folder_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "gone")
    with pytest.raises(JobFailed):
        ledger.add([answer()])
    assert not (tmp_path / "gone").exists()


def test_a_full_disk_costs_no_row(tmp_path: Path) -> None:
    """SQLite's own limit stands for the disk's."""
    ledger = Ledger(tmp_path)
    ledger.add([answer()])
    ledger._open.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]
    with pytest.raises(JobFailed):
        for _ in range(100):
            ledger.add([answer() for _ in range(100)])
    assert ledger.sums()["pictures"] >= 1
