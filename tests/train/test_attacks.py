"""What a visitor, or a training's process that was taken over, may try: the app stays whole, and others notice nothing."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.errors import InvalidValue, JobFailed, NotFound, QueueFull
from lib.settings import Settings
from lib.train import serving
from lib.train import trainer as trainer_module
from lib.train.classification import Unreadable
from lib.train.recipe import Recipe
from lib.train.runs import METRICS, RECORD, TURN, Runs
from lib.train.trainer import Trainer


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Trainer]:
    found = Trainer(Settings(data_folder=tmp_path, trackers=()))
    yield found
    found.close()


def in_time(ask: Any, seconds: float = 5.0) -> Any:
    """The answer of ``ask``, which must not wait for ever."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(ask()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it waits"
    return found[0]


@pytest.mark.parametrize("field", ["epochs", "learning_rate", "seed"])
def test_a_whole_number_of_any_length_is_refused_in_words(field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        Recipe.parse({field: 10**400})


def test_a_name_cannot_break_the_list_or_turn_the_direction_of_text(tmp_path: Path) -> None:
    run = Runs(tmp_path).new("half \ud800, \u202egnp.exe \x00\x1b[31m" + "A" * 4000, {})
    name = Runs(tmp_path).list()[0]["name"]
    assert name.startswith("half ?, ?gnp.exe ??[31mA") and len(name) == 80
    json.dumps(run.read(), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", [RECORD, METRICS, TURN])
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    runs = Runs(tmp_path)
    run, other = runs.new("x", {}), runs.new("y", {})
    (run.folder / name).unlink(missing_ok=True)
    os.mkfifo(run.folder / name)

    def use() -> list[dict[str, Any]]:
        run.metrics()
        with run.turn():
            return runs.list()

    assert other.id in [record["id"] for record in in_time(use)]


def test_a_record_of_other_shapes_is_read_as_far_as_it_fits(trainer: Trainer) -> None:
    owner = trainer.visitors.owner("x")
    run = trainer.runs(owner).new("x", {})
    odd: dict[str, Any] = dict.fromkeys(("recipe", "result", "files", "weights", "epochs", "status"), 5)
    (run.folder / RECORD).write_text(json.dumps(odd | {"data": "0" * 32, "name": ["<b>"], "id": "another"}))
    assert run.read() == {"status": "interrupted", "id": run.id}
    assert [record["id"] for record in trainer.runs(owner).list()] == [run.id]
    assert not trainer._uses(owner, "0" * 32)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", None])
def test_a_summary_that_is_none_is_a_data_set_that_is_gone(trainer: Trainer, content: str | None) -> None:
    owner, id = trainer.visitors.owner("x"), "0" * 32
    path = trainer.data.folder(owner, id) / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(content) if content is not None else os.mkfifo(path)

    def ask() -> str:
        try:
            return str(trainer.data.summary(owner, id))
        except NotFound:
            return "gone"

    assert in_time(ask) == "gone"


def _summary(trainer: Trainer, owner: str) -> str:
    id = "1" * 32
    trainer.data.folder(owner, id).mkdir(parents=True)
    trainer.data.remember(owner, id, {"name": "n", "classes": [{"name": "a", "train": 2}], "count": 2})
    return id


def test_a_training_that_broke_its_own_record_leaves_the_queue(trainer: Trainer) -> None:
    owner = trainer.visitors.owner("x")
    one = trainer.train(owner, _summary(trainer, owner), Recipe(image_size=32))
    one.result = {"status": "done"}
    (one.run.folder / RECORD).write_text("[]")
    one.stop()
    assert one.done.wait(20)
    assert trainer.of(owner) == [] and trainer.under_way(one.run.id) is None


@pytest.mark.parametrize("seconds", ["x", float("nan"), float("inf"), 10**400, -1.0, 0, None, [1]])
def test_only_a_duration_teaches_how_long_trainings_take(seconds: Any) -> None:
    assert not trainer_module._is_duration(seconds)


def test_one_visitor_does_not_take_all_places_and_leaves_no_folder(trainer: Trainer, monkeypatch: Any) -> None:
    owner = trainer.visitors.owner("x")
    id = _summary(trainer, owner)
    monkeypatch.setattr(trainer_module, "MAX_UNDER_WAY", 0)
    with pytest.raises(QueueFull):
        trainer.train(owner, id, Recipe(image_size=32))
    monkeypatch.undo()

    def full(*_: Any, **__: Any) -> Any:
        raise QueueFull(64)

    monkeypatch.setattr(trainer._jobs, "submit", full)
    with pytest.raises(QueueFull):
        trainer.train(owner, id, Recipe(image_size=32))
    done = trainer.runs(owner).new("d", {"status": "done", "recipe": Recipe().as_dict(), "data": {"id": id}})
    with pytest.raises(QueueFull):
        trainer.reproduce(done)
    assert [record["id"] for record in trainer.runs(owner).list()] == [done.id]


def test_reproducing_counts_among_a_visitors_runs(trainer: Trainer, monkeypatch: Any) -> None:
    owner = trainer.visitors.owner("x")
    id = _summary(trainer, owner)
    done = trainer.runs(owner).new("d", {"status": "done", "recipe": Recipe().as_dict(), "data": {"id": id}})
    monkeypatch.setattr(trainer_module, "MAX_RUNS", 1)
    with pytest.raises(InvalidValue, match="delete some"):
        trainer.reproduce(done)


def test_more_threads_than_cores_are_refused(trainer: Trainer) -> None:
    owner = trainer.visitors.owner("x")
    with pytest.raises(InvalidValue, match="threads"):
        trainer.train(owner, _summary(trainer, owner), Recipe(threads=1024))


def test_a_full_disk_takes_no_uploads_and_no_trainings(trainer: Trainer, monkeypatch: Any, tmp_path: Path) -> None:
    owner = trainer.visitors.owner("x")
    id = _summary(trainer, owner)
    monkeypatch.setattr("lib.train.visitors.FREE_MB", 1 << 40)
    with pytest.raises(JobFailed, match="disk"):
        trainer.data.upload(owner, tmp_path / "a.zip", "a")
    with pytest.raises(JobFailed, match="disk"):
        trainer.train(owner, id, Recipe(image_size=32))
    assert trainer.runs(owner).list() == []


def test_what_a_killed_upload_left_is_removed(trainer: Trainer) -> None:
    owner = trainer.visitors.owner("x")
    kept, fresh, old = _summary(trainer, owner), "2" * 32, "3" * 32
    for id in (fresh, old):
        (trainer.data.folder(owner, id) / "pictures").mkdir(parents=True)
    for id in (kept, old):
        os.utime(trainer.data.folder(owner, id), (time.time() - 7200,) * 2)
    trainer.sweep()
    assert sorted(path.name for path in trainer.data.folder(owner, kept).parent.iterdir()) == [kept, fresh]


def test_a_run_that_cannot_be_loaded_does_not_end_the_process_of_others(monkeypatch: Any) -> None:
    class NetworkCache:
        def ready(self, folder: str, runtime: str) -> Any:
            if folder == "/bad":
                raise KeyError("/secret/path")
            return folder, 0.0

    monkeypatch.setattr(serving, "classify", lambda network, asked, *_: [[Unreadable(error=network)] for _ in asked])
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(serving, "send", lambda end, message: sent.append(message))
    ends: list[Any] = [threading.Lock(), threading.Lock()]  # anything that closes in a with
    waiting = [(ends[0], {"run": "/bad", "pictures": []}), (ends[1], {"run": "/good", "pictures": []})]
    assert serving.answer(waiting, NetworkCache()) == 2  # type: ignore[arg-type]
    assert "KeyError" in sent[0]["error"] and "secret" not in sent[0]["error"]
    assert sent[1] == {"pictures": [{"error": "/good"}], "loading": 0.0, "error": ""}
