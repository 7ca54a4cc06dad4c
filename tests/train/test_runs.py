from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from lib.errors import InvalidValue, JobFailed, NotFound
from lib.train.events import Step
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
        with pytest.raises(JobFailed, match="in use by another process"), run.lock():
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
        step = Step(step=epoch, steps=3, epoch=epoch, loss=1 / epoch, learning_rate=0.1, pictures_per_second=5.0)
        run.log(asdict(step))
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "step": 9, "loss": 0.5}\n[1]\n{"epoch": 4, "lo')
    assert [step.epoch for step in run.metrics().steps] == [1, 2, 3]
    run.forget_after(2)
    assert [step.epoch for step in run.metrics().steps] == [1, 2]


def test_a_record_is_read_field_by_field(tmp_path: Path) -> None:
    """An old run lacks fields, a damaged one has other shapes in them: the others still count."""
    part = {"count": 10, "correct": 9, "accuracy": 0.9, "interval": [0.6, 0.98]}
    epoch = {"epoch": 1, "step": 4, "train_loss": 1.0, "validation_loss": float("nan"), "validation_accuracy": 0.9}
    epoch |= {"seconds": 2.0, "pictures_per_second": 9.5, "best": True}
    files = {"best.safetensors": {"bytes": 5, "sha256": "f"}}
    written = {"classes": ["a", "b"], "epochs": [epoch], "files": files, "data": {"id": "x"}, "created": 1e300, "unknown": 1}
    run = Runs(tmp_path).new("x", written | {"result": {"on": "test", "epoch": 1, **part, "parts": {"test": part}}})
    record = run.record()
    assert record.classes == ("a", "b") and record.epochs[0].seconds == 2.0 and record.files["best.safetensors"].bytes == 5
    assert record.result is not None and record.result.parts["test"].interval == (0.6, 0.98)
    assert (record.id, record.name, record.data.id, record.data.count) == (run.id, "x", "x", 0)
    assert record.created is None and record.environment is None  # no calendar has that year
    assert run.read()["unknown"] == 1 and run.read()["created"] == 1e300  # the JSON is passed on as it is
    run.update(epochs=[{"epoch": "one"}], result={"accuracy": 2}, classes=[1])
    assert run.record().epochs == () and run.record().result is None and run.record().classes == ()
    assert run.record().data.id == "x"
