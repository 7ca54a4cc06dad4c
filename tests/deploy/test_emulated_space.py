"""The app of this repository, deployed to a Space that checks it out, installs what it asks for and starts it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lib.deploy import tree
from lib.onnx_inspect.examples import EXAMPLES
from tests.deploy.conftest import ROOT, Repository, repository
from tests.deploy.emulated import Emulated
from tests.deploy.space_hub import SpaceHub

FRESH = pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(3600)], id="fresh")


@pytest.fixture
def app(hub: SpaceHub, tmp_path: Path) -> Repository:
    """This repository as it is on the disk, committed somewhere else."""
    return repository(hub, tmp_path, tree.of_folder(ROOT))


@pytest.fixture
def emulate(hub: SpaceHub, tmp_path: Path) -> Iterator:
    there: list[Emulated] = []

    def start(name: str, fresh: bool) -> Emulated:
        hub.make({"organization": "ada", "name": name.split("/")[1]})
        there.append(Emulated(hub, name, tmp_path / "space", fresh=fresh))
        return there[-1]

    yield start
    for emulated in there:
        emulated.close()


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [pytest.param(False, id="quick"), FRESH])
def test_the_whole_app_by_a_push(fresh: bool, app: Repository, hub: SpaceHub, emulate) -> None:  # type: ignore[no-untyped-def]
    name = "ada/workbench"
    emulated = emulate(name, fresh)
    app.deploy("--install", name, "--timeout", "3000")
    run = app.run("git", "push", "space", "main")
    assert run.returncode == 0, run.stderr
    address = hub.spaces[name].host
    first = httpx.get(f"{address}/healthz").json()
    assert first["revision"] == app.run("git", "rev-parse", "HEAD").stdout.strip() and first["status"] == "ready"
    answer = httpx.get(f"{address}/text-to-image", params={"prompt": "a red car", "steps": 2}, timeout=120)
    assert answer.status_code == 200 and answer.content.startswith(b"\x89PNG")  # the weights are no pointers
    if fresh:
        return
    # and the next one, which cannot start: the log is told, and the push is rejected
    app.write("Typing error", **{"app.py": b"import gardio\n"})
    run = app.run("git", "push", "space", "main")
    assert run.returncode and "No module named 'gardio'" in run.stderr and "pre-receive hook declined" in run.stderr
    assert not list((emulated.folder / "app").rglob("tests"))


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [pytest.param(False, id="quick"), FRESH])
def test_one_tab_alone(fresh: bool, app: Repository, hub: SpaceHub, emulate) -> None:  # type: ignore[no-untyped-def]
    name = "ada/inspect"
    emulated = emulate(name, fresh)
    run = app.deploy(name, "--tab", "onnx_inspect", "--timeout", "3000")
    assert run.returncode == 0, run.stdout + run.stderr
    address = hub.spaces[name].host
    assert httpx.get(f"{address}/healthz").json()["revision"].endswith("-onnx_inspect")
    report = httpx.post(f"{address}/inspect-onnx", content=EXAMPLES["linear"]().SerializeToString(), timeout=120).json()
    assert report["valid"] and report["macs"] == 12
    there = emulated.folder / "app"
    assert not (there / "models").exists() and not (there / "lib" / "train").exists()
    if fresh:
        packages = subprocess.run(
            [emulated.folder / "environment" / "bin" / "python", "-m", "pip", "list"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "\ntorch " not in packages.stdout
