from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lib.errors import InvalidValue, JobFailed, NotFound
from lib.train.runs import ID, Runs


def test_an_id_cannot_be_guessed_and_names_no_path(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    ids = {runs.new("../My Rün/1", {}).id for _ in range(5)}
    assert len(ids) == 5 and all(ID.fullmatch(id) and "-my-r-n-1-" in id for id in ids)
    for bad in ("../x", "", "20261125-000000-x-0123", None, 5, "a" * 500):
        with pytest.raises(InvalidValue):
            runs.find(bad)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        runs.find("20261125-000000-x-0123456789abcdef")


def test_a_killed_process_leaves_an_interrupted_run(tmp_path: Path) -> None:
    run = Runs(tmp_path).new("x", {})
    code = (
        "import sys, time; from pathlib import Path; from lib.train.runs import Run; run = Run(Path(sys.argv[1]));\n"
        "with run.lock(): run.update(status='running'); print('on', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "on\n"
        assert run.read()["status"] == "running" and run.locked
        with pytest.raises(JobFailed, match="worked on already"), run.lock():
            pass
        with pytest.raises(JobFailed, match="Stop it first"):
            Runs(tmp_path).delete(run.id)
        process.kill()
    assert run.read()["status"] == "interrupted"
    assert json.loads((run.folder / "run.json").read_text())["status"] == "running"  # nobody wrote another word
    Runs(tmp_path).delete(run.id)
    assert not run.folder.exists()


def test_a_run_that_waits_is_alive_as_long_as_somebody_holds_its_turn(tmp_path: Path) -> None:
    run = Runs(tmp_path).new("x", {})
    assert run.read()["status"] == "interrupted"  # nobody holds it
    with run.turn():
        assert run.read()["status"] == "waiting"


def test_a_record_that_is_no_record_is_no_run(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    run = runs.new("x", {"note": 1})
    for text in ("", "[1]", '{"a":' * 10_000, "\0"):
        (run.folder / "run.json").write_text(text)
        with pytest.raises(NotFound):
            run.read()
    assert runs.list() == []
    (run.folder / "run.json").unlink()
    (tmp_path / "secret.json").write_text('{"status": "done"}')
    (run.folder / "run.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(NotFound):
        run.read()


def test_figures_survive_a_cut_line(tmp_path: Path) -> None:
    run = Runs(tmp_path).new("x", {})
    for epoch in (1, 2, 3):
        run.log({"epoch": epoch, "loss": 1 / epoch})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [m["epoch"] for m in run.metrics()] == [1, 2, 3]
    run.forget_after(2)
    assert [m["epoch"] for m in run.metrics()] == [1, 2]
