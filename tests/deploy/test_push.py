"""A plain ``git push``: the Space itself refuses this history, the remote of ``--install`` deploys it or rejects it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.conftest import FILES, Repository
from tests.deploy.fake_space import FakeSpace, git
from tests.deploy.space_hub import SpaceHub

NAME = "ada/workbench"


@pytest.fixture
def installed(here: Repository) -> Repository:
    run = here.deploy("--install", NAME)
    assert run.returncode == 0 and "git push space main deploys to ada/workbench" in run.stdout
    return here


def test_the_space_itself_refuses_the_history_and_takes_the_deployment(
    hub: SpaceHub, installed: Repository, tmp_path: Path
) -> None:
    other = FakeSpace(tmp_path / "direct.git", "")
    run = installed.run("git", "push", "--force", str(other.folder), "main")
    assert run.returncode and "binary files. Offending files: docs/a.png" in run.stderr
    assert installed.run("git", "push", "space", "main").returncode == 0
    deployed = hub.spaces[NAME].folder
    other_way = installed.run("git", "-C", str(deployed), "push", "--force", str(other.folder), "main")
    assert other_way.returncode == 0, other_way.stderr  # what the Hub keeps passes its own rule


def test_a_push_deploys(hub: SpaceHub, installed: Repository) -> None:
    run = installed.run("git", "push", "space", "main")
    assert run.returncode == 0, run.stderr
    head = git(installed.folder, "rev-parse", "HEAD")
    assert f"remote: {head[:12]} The app" in run.stderr and "BUILDING" in run.stderr
    assert f"remote: {NAME} runs {head[:12]}" in run.stderr
    assert "docs/a.png" in hub.spaces[NAME].tree and len(hub.spaces[NAME].commits) == 2
    assert "Everything up-to-date" in installed.run("git", "push", "space", "main").stderr
    assert installed.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.slow
def test_a_deployment_that_fails_rejects_the_push(hub: SpaceHub, installed: Repository) -> None:
    assert installed.run("git", "push", "space", "main").returncode == 0
    space = hub.spaces[NAME]
    space.coming, space.logs = ["BUILDING", "BUILD_ERROR"], {"build": ["ERROR: no gardio"]}
    old = git(installed.folder, "rev-parse", "HEAD")
    installed.write("Typing error", **{"requirements.txt": b"gardio\n"})
    run = installed.run("git", "push", "space", "main")
    assert run.returncode and "pre-receive hook declined" in run.stderr
    assert "remote:   ERROR: no gardio" in run.stderr and "remote: Not deployed: The Space ended in" in run.stderr
    assert git(installed.folder, "ls-remote", "space", "main").split()[0] == old
    space.coming = ["BUILDING", "RUNNING"]
    installed.write("Mended", **{"requirements.txt": FILES["requirements.txt"]})
    assert installed.run("git", "push", "space", "main").returncode == 0


@pytest.mark.slow
def test_only_main_is_deployed(hub: SpaceHub, installed: Repository) -> None:
    for refs in (("HEAD:idea",), ("main", "HEAD:idea"), (":main",)):
        run = installed.run("git", "push", "space", *refs)
        assert run.returncode and not hub.spaces
    git(installed.folder, "checkout", "--quiet", "-b", "idea")
    assert "push only main" in installed.run("git", "push", "space", "idea").stderr
    assert installed.run("git", "push", "space", "idea:main").returncode == 0


@pytest.mark.slow
def test_a_remote_a_tab(hub: SpaceHub, installed: Repository) -> None:
    words = ("--install", "ada/look", "--tab", "look", "--remote", "look", "--hardware", "cpu-upgrade", "--private")
    assert installed.deploy(*words).returncode == 0
    assert installed.run("git", "push", "look", "main").returncode == 0
    space = hub.spaces["ada/look"]
    assert "spaces/look/app.py" in space.tree and "app.py" not in space.tree
    assert space.hardware == "cpu-upgrade" and space.private
    assert set(git(installed.folder, "remote").split()) == {"space", "look"}


def test_what_cannot_be_installed(here: Repository) -> None:
    run = here.deploy("--install", "workbench")
    assert run.returncode == 1 and "space was 'workbench'; allowed: owner/name" in run.stderr
    run = here.deploy("--install", NAME, "--tab", "nothing")
    assert run.returncode == 1 and "tab was 'nothing'; allowed: draw, look" in run.stderr
    run = here.deploy("--install", NAME, "--remote", "../x")
    assert run.returncode == 1 and "remote was '../x'; allowed: letters" in run.stderr
    assert git(here.folder, "remote") == ""


def test_the_owner_s_remotes_are_left_alone(installed: Repository) -> None:
    git(installed.folder, "remote", "add", "origin", "https://example.org/x.git")
    run = installed.deploy("--install", NAME, "--remote", "origin")
    assert run.returncode == 1 and "remote was 'origin'; allowed: a name that is not yet a remote" in run.stderr
    assert installed.deploy("--install", "ada/elsewhere").returncode == 0  # ours, with other words
    hook = (installed.folder / ".git" / "space.git" / "hooks" / "pre-receive").read_text()
    assert "ada/elsewhere" in hook and NAME not in hook
