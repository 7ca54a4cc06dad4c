"""``python -m lib.train`` as a user calls it, and two processes of ``accelerate launch``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.train.runs import Run
from tests.train.conftest import shapes

ROOT = Path(__file__).parent.parent.parent
RECIPE = ["--epochs", "2", "--image-size", "32", "--batch-size", "8", "--threads", "1"]


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"DATA_FOLDER": str(home / "data"), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}


def train(home: Path, *words: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess:
    command = [*launcher, "-m", "lib.train", *words]
    return subprocess.run(command, cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=400)


def run_of(done: subprocess.CompletedProcess) -> Run:
    assert done.returncode == 0, done.stderr[-2000:]
    return Run(Path(done.stdout.strip().splitlines()[-1]))


def start(home: Path, *words: str) -> subprocess.Popen:
    """A process that hears Ctrl-C, also where whoever runs these tests ignores it (as a shell's background jobs do)."""
    return subprocess.Popen(
        [sys.executable, "-m", "lib.train", *words],
        cwd=ROOT,
        env=environment(home),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def losses(run: Run) -> list[float]:
    return [step.loss for step in run.metrics().steps]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    shapes(home)
    return home


@pytest.fixture(scope="module")
def trained(home: Path) -> subprocess.CompletedProcess:
    return train(home, str(home / "pictures"), *RECIPE, "--name", "mine")


def test_a_folder_is_trained_listed_and_reproduced(home: Path, trained: subprocess.CompletedProcess) -> None:
    done, run = trained, run_of(trained)
    assert "% of 3 validation pictures (95 %: " in done.stdout and "Epoch 2: loss" in done.stdout
    assert run.read()["name"] == "mine" and run.read()["status"] == "done"
    assert list(run.folder.glob("events.out.tfevents.*"))
    listed = train(home, "--list")
    assert run.id in listed.stdout and "done" in listed.stdout
    again = train(home, "--reproduce", run.id)
    assert "identical" in again.stdout and run_of(again).id != run.id


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "There is no folder 'nowhere'"),
        (["objects", "--epochs", "x"], "epochs was 'x'; allowed: a whole number"),
        (["objects", "--backbone", "vgg"], "backbone was 'vgg'; allowed: efficientnet_lite0"),
        ([], "Name a folder of pictures"),
        (["--resume", "x"], "run was 'x'"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    done = train(tmp_path, *words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_whole_epoch_and_resume_goes_on(tmp_path: Path) -> None:
    folder = shapes(tmp_path)
    process = start(tmp_path, str(folder), *RECIPE, "--epochs", "100")
    home, deadline = tmp_path / "data" / "train" / "visitors" / "shared" / "runs", time.monotonic() + 200
    while not any(len(Run(f).read().get("epochs") or ()) >= 1 for f in home.glob("*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130 and "--resume" in words and "Traceback" not in words
    (folder,) = home.glob("*")
    run = Run(folder)
    assert run.read()["status"] == "stopped"
    record = run.read()
    epochs = len(record["epochs"])
    process = start(tmp_path, "--resume", run.id)
    while len(run.read()["epochs"]) <= epochs:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert run.read()["epochs"][:epochs] == record["epochs"]


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(home: Path, trained: subprocess.CompletedProcess, tmp_path: Path) -> None:
    """Each takes half of every batch of 8, and the last batch of 6 as well."""
    one = run_of(trained)
    accelerate = str(Path(sys.executable).with_name("accelerate"))
    options = ["launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launcher = (accelerate, *options, "--dynamo_backend", "no", "--main_process_port", "0")
    two = run_of(train(tmp_path, str(home / "pictures"), *RECIPE, launcher=launcher))
    assert len(losses(one)) == len(losses(two)) == 10
    assert losses(two) == pytest.approx(losses(one), rel=2e-3, abs=2e-3)
    assert losses(two) != losses(one)  # sums in another order: had they been equal, it would have been one process
    ours, theirs = ([e["validation_loss"] for e in run.read()["epochs"]] for run in (one, two))
    assert ours == pytest.approx(theirs, rel=5e-3)
    assert json.loads((two.folder / "run.json").read_text())["status"] == "done"
    assert len(list(two.folder.parent.glob("*"))) == 1  # not one a process
