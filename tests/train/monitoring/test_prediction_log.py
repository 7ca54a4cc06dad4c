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
from lib.train.monitoring import prediction_log as log_module
from lib.train.monitoring.prediction_log import Prediction, PredictionLog

ROOT = Path(__file__).parent.parent.parent.parent


def answer(label: int = 0, at: float | None = None, id: str = "") -> Prediction:
    return Prediction(id or secrets.token_hex(24), at or time.time(), label, 0.75, 12.5, "pytorch")


def test_answers_and_truths_survive_a_restart(tmp_path: Path) -> None:
    first = PredictionLog(tmp_path)
    assert first.predictions() == [] and first.totals().pictures == 0 and not first.path.exists()  # a look makes no file
    some = [answer(label, at) for label, at in ((0, 3.0), (1, 1.0), (2, 2.0))]
    first.add(some, unreadable=2)
    assert first.set_label(some[0].id, 0).label == 0
    first.set_label(some[1].id, 2)
    first.close()
    again = PredictionLog(tmp_path)
    assert [a.at for a in again.predictions()] == [1.0, 2.0, 3.0]
    assert {a.id: a.truth for a in again.predictions()} == {some[0].id: 0, some[1].id: 2, some[2].id: None}
    sums = again.totals()
    assert (sums.pictures, sums.unreadable, sums.truths, sums.right) == (3, 2, 2, 1)
    assert abs(sums.since - time.time()) < 60


def test_the_last_truth_counts_and_counts_once(tmp_path: Path) -> None:
    log, one = PredictionLog(tmp_path), answer(1)
    log.add([one])
    for truth, right in ((1, 1), (1, 1), (0, 0), (1, 1), (2, 0)):
        log.set_label(one.id, truth)
        sums = log.totals()
        assert (sums.truths, sums.right) == (1, right)
    assert log.predictions()[0].truth == 2


def test_it_is_bounded_and_says_what_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "KEPT", 10)
    log, old = PredictionLog(tmp_path), answer(at=1.0)
    log.add([old])
    for k in range(5):
        log.add([answer(at=2.0 + k + j / 10) for j in range(3)])
    assert len(log.predictions()) == 10 and log.totals().pictures == 16
    with pytest.raises(NotFound, match="its last"):
        log.set_label(old.id, 0)
    with pytest.raises(NotFound):
        log.set_label("' OR 1=1 --", 0)


WRITER = """
import sys, secrets, time
from pathlib import Path
from lib.train.monitoring.prediction_log import Prediction, PredictionLog
log = PredictionLog(Path(sys.argv[1]))
for _ in range(40):
    log.add([Prediction(secrets.token_hex(24), time.time(), 1, 0.5, 1.0, "pytorch")])
"""


def test_several_processes_and_threads_write_at_once(tmp_path: Path) -> None:
    others = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT) for _ in range(3)]
    log = PredictionLog(tmp_path)
    threads = [threading.Thread(target=lambda: [log.add([answer()]) for _ in range(40)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0, 0]
    assert log.totals().pictures == len(log.predictions()) == 240


def test_ten_thousand_truths(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    some = [answer(k % 3) for k in range(log_module.KEPT)]
    log.add(some)
    for one in some:
        log.set_label(one.id, 0)
    assert log.totals().truths == 10_000 and log.totals().right == 3334
    log.close()
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
        file.truncate(log_module.MAX_BYTES + 1)


@pytest.mark.parametrize("damage", [_text, _pipe, _link, _other_tables, _huge])
def test_a_file_that_is_no_log_is_replaced(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    log = PredictionLog(tmp_path)
    damage(log.path)
    log.add([answer()])
    assert log.totals().pictures == 1 and log.path.is_file() and not log.path.is_symlink()
    assert Path("/etc/passwd").read_text()


def test_a_statement_of_a_planted_file_does_not_run_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "LONGEST", 0.2)
    log = PredictionLog(tmp_path)
    with sqlite3.connect(log.path) as db:
        endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n"
        names = "id, n AS at, n AS label, n AS score, n AS milliseconds, n AS runtime, n AS truth, n AS told"
        db.executescript(f"CREATE VIEW answers AS {endless} AS {names} FROM c WHERE n < 0; PRAGMA user_version = 1;")
    with pytest.raises(JobFailed):
        log.predictions()


def test_rows_of_another_shape_are_left_out(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.add([answer(id="good")])
    log.close()
    with sqlite3.connect(log.path) as db:
        for values in (("a", "text", 0, 0.5), ("b", 1.0, "text", 0.5), ("c", 1.0, 0, b"blob"), ("d", None, 0, 0.5)):
            row = (*values, 1.0, "pytorch")
            db.execute("INSERT INTO answers (id, at, label, score, milliseconds, runtime) VALUES (?,?,?,?,?,?)", row)
    assert [a.id for a in log.predictions()] == ["good"]


def test_a_run_that_is_gone_gets_no_folder_again(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "gone")
    with pytest.raises(JobFailed):
        log.add([answer()])
    assert not (tmp_path / "gone").exists()


def test_a_full_disk_costs_no_row(tmp_path: Path) -> None:
    """SQLite's own limit stands for the disk's."""
    log = PredictionLog(tmp_path)
    log.add([answer()])
    log._open.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]
    with pytest.raises(JobFailed):
        for _ in range(100):
            log.add([answer() for _ in range(100)])
    assert log.totals().pictures >= 1
