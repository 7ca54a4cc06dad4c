"""What the tab calls, with real child processes: uploads, trainings that are stopped, killed and resumed, other visitors."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from lib.errors import InvalidFile, InvalidValue, JobFailed, NotFound
from lib.settings import Settings
from lib.train.recipe import Recipe
from lib.train.running_training import RunningTraining
from lib.train.trainer import NICE, Trainer
from tests.train.conftest import shapes

QUICK = Recipe(image_size=32, epochs=1, batch_size=8)
LONG = Recipe(image_size=32, epochs=500, batch_size=8)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    trainer = Trainer(Settings(data_folder=tmp_path_factory.mktemp("data"), trackers=()))
    yield trainer
    trainer.close()


@pytest.fixture(autouse=True)
def nothing_left(trainer: Trainer) -> Iterator[None]:
    """A test that fails in the middle of a training holds up no other."""
    yield
    for one in list(trainer._under_way.values()):
        one.stop()
        assert one.done.wait(10)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("zip")
    folder = shapes(home)
    return Path(shutil.make_archive(str(home / "shapes"), "zip", folder.parent, "pictures"))


@pytest.fixture
def uploaded(trainer: Trainer, archive: Path) -> tuple[str, str]:
    """A visitor and a data set of hers."""
    owner = trainer.visitors.owner(f"visitor {time.monotonic_ns()}")
    id, job = trainer.data.upload(owner, archive, "shapes.zip")
    trainer.data.remember(owner, id, job.result())
    return owner, id


def wait(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def epochs(one: RunningTraining) -> int:
    return len(one.run.read().get("epochs") or ())


def test_an_upload_is_trained_evaluated_and_classifies(
    trainer: Trainer, uploaded: tuple[str, str], archive: Path, tmp_path: Path
) -> None:
    owner, id = uploaded
    assert trainer.data.summary(owner, id).count == 42
    one = trainer.train(owner, id, Recipe(image_size=48, epochs=4, batch_size=8), "first <b>")
    assert one.done.wait(180) and one.error is None
    record = trainer.find(one.run.id).read()
    assert record["status"] == "done" and record["name"] == "first <b>"
    assert [r["id"] for r in trainer.runs(owner).list()] == [one.run.id]
    with zipfile.ZipFile(archive) as z:
        z.extractall(tmp_path)
    pictures = sorted((tmp_path / "pictures").glob("*/0[0-7].png"))
    rows = trainer.classify(one.run, pictures)
    right = sum(row.label == path.parent.name for row, path in zip(rows, pictures, strict=True))
    assert right >= 20, rows  # of 24, most of which it learned from
    assert all(abs(sum(row.scores.values()) - 1) < 1e-3 for row in rows)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    good, bad = trainer.classify(one.run, [pictures[0], tmp_path / "broken.png"])
    assert good.label == rows[0].label and bad.error and str(tmp_path) not in bad.error
    with pytest.raises(InvalidFile):
        trainer.classify(one.run, [])
    with pytest.raises(InvalidValue):
        trainer.classify(one.run, [pictures[0]] * 33)
    assert trainer.speeds.estimate(QUICK, 38, 4) != Trainer(Settings(data_folder=tmp_path)).speeds.estimate(QUICK, 38, 4)
    onnx = trainer.export(one.run, tmp_path).result()
    assert onnx["classes"] == ["cross", "disc", "stripes"]
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    pixels = np.asarray(Image.open(pictures[0]), dtype=np.float32).transpose(2, 0, 1)[None]
    (found,) = session.run(None, {"pixels": pixels})
    assert found[0] == pytest.approx(list(rows[0].scores.values()), abs=2e-3)
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == onnx["classes"]


@pytest.mark.slow
def test_requests_that_arrive_together_share_a_forward_pass(
    trainer: Trainer, uploaded: tuple[str, str], tmp_path: Path
) -> None:
    from lib.train import serving

    owner, id = uploaded
    one = trainer.train(owner, id, QUICK, "")
    assert one.done.wait(180) and one.error is None
    picture = shapes(tmp_path, 2) / "disc" / "00.png"
    network, calls = serving.LoadedRun(one.run, ()), []
    forward = network.classifier.probabilities
    network.classifier.probabilities = lambda pixels: calls.append(len(pixels)) or forward(pixels)  # type: ignore[method-assign]
    together = serving.classify(network, [[str(picture)], [str(picture)] * 2])
    assert calls == [3] and [len(rows) for rows in together] == [1, 2]
    alone = serving.classify(network, [[str(picture)]])
    assert alone[0][0].scores == pytest.approx(together[0][0].scores, abs=1e-4)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _: trainer.classify(one.run, [picture])[0], range(16)))
    assert {row.label for row in rows} == {alone[0][0].label}


@pytest.mark.slow
def test_a_classifying_process_that_hangs_is_replaced(
    trainer: Trainer, uploaded: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, one = _picture(trainer, *uploaded), trainer.train(*uploaded, QUICK, "")
    assert one.done.wait(120)
    trainer.classify(one.run, [picture])
    monkeypatch.setattr("lib.train.classify.ANSWER", 20.0)
    (worker,) = [
        p
        for p in psutil.Process().children(recursive=True)
        if any("classify-" in c.laddr for c in p.net_connections("unix"))
    ]
    os.kill(worker.pid, signal.SIGSTOP)
    assert trainer.classify(one.run, [picture])[0].label in ("cross", "disc", "stripes")
    wait(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
def test_a_stop_is_heard_in_the_middle_and_the_best_epoch_kept(trainer: Trainer, uploaded: tuple[str, str]) -> None:
    owner, id = uploaded
    one = trainer.train(owner, id, LONG, "")
    wait(lambda: epochs(one) >= 1)
    one.stop()
    assert one.done.wait(30) and epochs(one) < LONG.epochs
    assert one.run.read()["status"] == "stopped" and trainer.of(owner) == []
    wait(lambda: one.run.evaluation())  # in the background
    assert one.run.read()["result"]["parts"]["validation"]["count"] == 3
    assert trainer.classify(one.run, [_picture(trainer, owner, id)])[0].label in ("cross", "disc", "stripes")
    before = epochs(one)
    again = trainer.resume(one.run)
    wait(lambda: epochs(again) > before)
    assert again.run.read()["epochs"][before - 1]["epoch"] == before
    again.stop()
    assert again.done.wait(30)


def test_a_killed_worker_is_a_message_and_a_run_that_goes_on(trainer: Trainer, uploaded: tuple[str, str]) -> None:
    owner, id = uploaded
    one = trainer.train(owner, id, LONG, "")
    wait(lambda: epochs(one) >= 1)
    (worker,) = [p for p in psutil.Process().children(recursive=True) if p.nice() == NICE]
    os.kill(worker.pid, signal.SIGKILL)
    assert one.done.wait(30)
    assert isinstance(one.error, JobFailed) and "crashed" in one.error.message
    record = one.run.read()
    assert record["status"] == "interrupted" and "crashed" in record["error"]
    again, before = trainer.resume(one.run), epochs(one)
    wait(lambda: epochs(again) > before)
    again.stop()
    assert again.done.wait(30)


@pytest.mark.slow
def test_one_at_a_time_and_others_wait(trainer: Trainer, uploaded: tuple[str, str]) -> None:
    owner, id = uploaded
    first, second = trainer.train(owner, id, LONG, "a"), trainer.train(owner, id, QUICK, "b")
    wait(lambda: "number 1 in the queue" in second.progress.stage)
    assert second.run.read()["status"] == "waiting"
    assert trainer.of(owner) == [first, second]
    with pytest.raises(JobFailed, match="under way"):
        trainer.delete(second.run)
    first.stop()
    assert second.done.wait(120) and second.error is None
    trainer.delete(second.run)
    with pytest.raises(NotFound):
        trainer.find(second.run.id)


def test_reproduce_trains_again_and_says_identical(trainer: Trainer, uploaded: tuple[str, str]) -> None:
    owner, id = uploaded
    one = trainer.train(owner, id, QUICK, "")
    assert one.done.wait(120)
    again = trainer.reproduce(one.run)
    assert again.done.wait(120) and again.error is None and again.result is not None
    assert again.result["verdict"] == "identical" and again.run.read()["again"]["of"] == one.run.id


def test_visitors_do_not_meet(trainer: Trainer, uploaded: tuple[str, str]) -> None:
    owner, id = uploaded
    stranger = trainer.visitors.owner("somebody else")
    assert trainer.visitors.token(owner) != trainer.visitors.token(stranger) != owner
    assert trainer.visitors.runs_of(trainer.visitors.token(owner)) == trainer.runs(owner).home
    assert trainer.visitors.runs_of("0" * 32) is None and trainer.visitors.runs_of("../..") is None
    with pytest.raises(NotFound):
        trainer.data.summary(stranger, id)
    for bad in ("../x", "", "hub:a/b"):
        with pytest.raises((InvalidValue, NotFound)):
            trainer.train(owner, bad, QUICK, "")
    with pytest.raises(InvalidValue, match="backbone was 'resnet'"):
        trainer.train(owner, id, Recipe(backbone="resnet"), "")


def test_shared_on_one_s_own_machine(tmp_path: Path) -> None:
    trainer = Trainer(Settings(data_folder=tmp_path, train_shared=True))
    assert trainer.visitors.owner("a") == trainer.visitors.owner("b") == "shared"


def test_visitors_who_stay_away_are_forgotten(trainer: Trainer, uploaded: tuple[str, str]) -> None:
    owner, _ = uploaded
    home = trainer.runs(owner).home.parent
    trainer.sweep()
    assert home.is_dir()
    long_ago = time.time() - 8 * 86400
    for path in (home, *home.glob("runs/*"), *home.glob("data/*")):
        os.utime(path, (long_ago, long_ago))
    trainer.sweep()
    assert not home.exists()


def test_a_training_that_nobody_looks_at_is_stopped(
    trainer: Trainer, uploaded: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, id = uploaded
    one = trainer.train(owner, id, LONG, "")
    trainer.sweep()
    assert not one.done.is_set()
    monkeypatch.setattr("lib.train.running_training.ABANDONED", 0.0)
    trainer.sweep()
    assert one.done.wait(5) and one.run.read()["status"] == "stopped"


def _picture(trainer: Trainer, owner: str, id: str) -> Path:
    return next(trainer.data.folder(owner, id).glob("pictures/**/*.png"))
