"""``spaces/deploy.py`` against a Hub on loopback: one commit, the right files, and the truth about what runs."""

from __future__ import annotations

import re

import pytest

from tests.deploy.conftest import FILES, Repository
from tests.deploy.fake_space import POINTER, git
from tests.deploy.space_hub import SpaceHub
from tests.spaces.fake_hub import TOKEN

NAME = "ada/workbench"
OF_DEVELOPMENT = ("tests/", "requirements-dev.txt", ".gitignore", "lib/deploy/", "spaces/deploy.py")


@pytest.fixture
def deployed(hub: SpaceHub, here: Repository) -> Repository:
    """With the whole app on the Space."""
    run = here.deploy(NAME)
    assert run.returncode == 0, run.stdout + run.stderr
    hub.calls.clear()
    return here


def test_a_new_space(hub: SpaceHub, here: Repository) -> None:
    head = git(here.folder, "rev-parse", "HEAD")
    run = here.deploy(NAME, "--private")
    assert run.returncode == 0, run.stdout + run.stderr
    space = hub.spaces[NAME]
    assert space.private and space.commits == ["initial commit", "The app"]
    expected = {p for p in FILES if not p.startswith(OF_DEVELOPMENT)}
    expected |= {"REVISION", ".gitattributes", "lib/__init__.py", "lib/errors.py", "lib/settings.py"}
    assert set(space.tree) == expected and space.tree["REVISION"].decode() == f"{head}\n"
    assert {p for p, content in space.tree.items() if content.startswith(POINTER)} == {
        "docs/a.png",
        "models/tiny_scenes/weights/unet.safetensors",
    }
    assert b"docs/a.png filter=lfs" in space.tree[".gitattributes"]
    told = re.findall(r"^ \d:\d\d (\w+)$", run.stdout, re.M)
    assert told == ["NO_APP_FILE", "BUILDING", "RUNNING"]  # the first is the one before the commit
    assert run.stdout.endswith(f"{NAME} runs {head[:12]}: {space.host}\n") and TOKEN not in run.stdout + run.stderr


def test_one_commit_with_what_is_new_changed_and_gone(hub: SpaceHub, deployed: Repository) -> None:
    space = hub.spaces[NAME]
    space.commit({"stale.py": b"old", "web/gone/page.css": b"old"}, [], "somebody's own")
    (deployed.folder / "web" / "other.py").unlink()
    head = deployed.write("Next", **{"app.py": b"import web.shell, sys\n", "docs/new.md": b"new\n"})
    run = deployed.deploy(NAME)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 changed, 3 gone" in run.stdout and "1 new" in run.stdout
    assert space.commits[3:] == ["Next"]
    changes = git(space.folder, "show", "--format=", "--name-status", "main").splitlines()
    assert changes == sorted(
        ["M\tREVISION", "M\tapp.py", "A\tdocs/new.md", "D\tstale.py", "D\tweb/gone/page.css", "D\tweb/other.py"],
        key=lambda line: line[2:],
    )
    assert not [call for call in hub.calls if "/upload/" in call]  # the weights are there
    assert space.serving["revision"] == head


def test_nothing_to_do(hub: SpaceHub, deployed: Repository) -> None:
    run = deployed.deploy(NAME)
    assert run.returncode == 0 and "0 new, 0 changed, 0 gone" in run.stdout
    assert not [call for call in hub.calls if call.startswith("POST")]


def test_a_dry_run_changes_nothing(hub: SpaceHub, here: Repository) -> None:
    run = here.deploy(NAME, "--dry-run", "--hardware", "t4-small")
    assert run.returncode == 0 and f"{NAME} (to be created)" in run.stdout
    assert "\n+ app.py\n" in run.stdout and "tests/" not in run.stdout and "\n- nothing\n" in run.stdout
    assert not hub.spaces and all(call.startswith("GET") for call in hub.calls)


@pytest.mark.slow
def test_a_build_that_fails_and_the_one_that_mends_it(hub: SpaceHub, deployed: Repository) -> None:
    space = hub.spaces[NAME]
    space.coming = ["BUILDING", "BUILD_ERROR"]
    space.logs = {"build": [f"line {n}" for n in range(300)] + ["\x1b[31mERROR: no such package: gardio\x1b[0m"]}
    deployed.write("Typing error", **{"requirements.txt": b"gardio\n"})
    run = deployed.deploy(NAME)
    assert run.returncode == 1 and run.stderr == "Not deployed: The Space ended in BUILD_ERROR.\n"
    assert "  ERROR: no such package: gardio\n" in run.stdout and "\x1b" not in run.stdout
    assert "line 299" in run.stdout and "line 99\n" not in run.stdout

    space.coming = ["BUILD_ERROR", "RUNNING_BUILDING", "RUNNING"]  # the Hub tells the old end for a while
    deployed.write("Mended", **{"requirements.txt": b"gradio\n"})
    assert deployed.deploy(NAME).returncode == 0


@pytest.mark.slow
def test_a_broken_build_is_built_again_where_there_is_nothing_to_commit(hub: SpaceHub, deployed: Repository) -> None:
    space = hub.spaces[NAME]
    space.stage, space.serving = "RUNTIME_ERROR", {}
    run = deployed.deploy(NAME)
    assert run.returncode == 0 and "rebuilding it" in run.stdout
    assert len(space.commits) == 2 and f"POST /api/spaces/{NAME}/restart" in hub.calls


@pytest.mark.slow
def test_an_app_that_crashes(hub: SpaceHub, deployed: Repository) -> None:
    space = hub.spaces[NAME]
    space.coming, space.logs = ["BUILDING", "RUNTIME_ERROR"], {"run": ["ImportError: sys"], "build": ["all well"]}
    deployed.write("Worse")
    run = deployed.deploy(NAME)
    assert run.returncode == 1 and "ImportError: sys" in run.stdout and "all well" not in run.stdout


@pytest.mark.slow
def test_an_old_revision_that_goes_on_running_is_no_success(hub: SpaceHub, deployed: Repository) -> None:
    hub.spaces[NAME].coming = []
    head = deployed.write("Next")
    run = deployed.deploy(NAME, "--timeout", "3")
    assert run.returncode == 1 and f"is not serving {head[:12]} after 3 seconds; its stage is RUNNING" in run.stderr


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded(hub: SpaceHub, deployed: Repository) -> None:
    space = hub.spaces[NAME]
    space.built = lambda space: space.serving.update(status="failed", error="no memory", revision=head)
    head = deployed.write("Next")
    run = deployed.deploy(NAME)
    assert run.returncode == 1 and "without a model: no memory" in run.stderr


@pytest.mark.slow
def test_hardware_is_asked_for_before_anything_changes(hub: SpaceHub, deployed: Repository) -> None:
    space = hub.spaces[NAME]
    head = deployed.write("Next")
    hub.no_hardware = {"a100-large"}
    run = deployed.deploy(NAME, "--hardware", "a100-large")
    assert run.returncode == 1 and "no payment method" in run.stderr and len(space.commits) == 2
    run = deployed.deploy(NAME, "--hardware", "zerogpu")
    assert run.returncode == 0 and space.hardware == "zero-a10g" and space.serving["revision"] == head


@pytest.mark.slow
def test_a_paused_space_stays_paused(hub: SpaceHub, deployed: Repository) -> None:
    hub.spaces[NAME].stage = "PAUSED"
    deployed.write("Next")
    run = deployed.deploy(NAME)
    assert run.returncode == 1 and "restart it in its settings" in run.stderr and len(hub.spaces[NAME].commits) == 2


@pytest.mark.slow
def test_somebody_else_commits_in_between(hub: SpaceHub, deployed: Repository) -> None:
    hub.before_commit = lambda space: space.commit({"theirs.md": b"x"}, [], "theirs")
    deployed.write("Next")
    run = deployed.deploy(NAME)
    assert run.returncode == 1 and "Somebody else has just changed ada/workbench" in run.stderr
    assert hub.spaces[NAME].commits[-1] == "theirs"


@pytest.mark.slow
def test_what_is_not_committed_stays(hub: SpaceHub, deployed: Repository) -> None:
    (deployed.folder / "app.py").write_bytes(b"half an idea")
    run = deployed.deploy(NAME)
    assert run.returncode == 0 and "Uncommitted changes are not deployed" in run.stdout
    assert hub.spaces[NAME].tree["app.py"] == FILES["app.py"]


@pytest.mark.slow
def test_an_older_commit(hub: SpaceHub, deployed: Repository) -> None:
    first = git(deployed.folder, "rev-parse", "HEAD")
    deployed.write("Next", **{"app.py": b"import sys\n"})
    assert deployed.deploy(NAME).returncode == 0
    assert deployed.deploy(NAME, "--commit", "HEAD~1").returncode == 0
    assert hub.spaces[NAME].serving["revision"] == first and hub.spaces[NAME].tree["app.py"] == FILES["app.py"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("workbench",), "space was 'workbench'; allowed: owner/name"),
        (("a da/x",), "space was 'a da/x'; allowed: owner/name with letters"),
        (("bob/workbench",), r"denies you write access to bob/workbench .*hf auth login"),
        ((NAME, "--tab", "nothing"), "tab was 'nothing'; allowed: draw, look"),
        ((NAME, "--commit", "nowhere"), "commit was 'nowhere'; allowed: a commit, branch or tag"),
    ],
)
def test_what_cannot_be(words: tuple[str, ...], says: str, hub: SpaceHub, here: Repository) -> None:
    run = here.deploy(*words)
    assert run.returncode == 1 and re.search(says, run.stderr) and "Traceback" not in run.stderr
    assert not hub.spaces


def test_without_a_token(hub: SpaceHub, here: Repository) -> None:
    here.environment["HF_TOKEN"] = "hf_wrong"
    run = here.deploy(NAME)
    assert run.returncode == 1 and "hf auth login" in run.stderr
    assert "hf_wrong" not in run.stdout + run.stderr and "Traceback" not in run.stderr


@pytest.mark.slow
def test_a_trusted_publisher(hub: SpaceHub, here: Repository) -> None:
    """As the workflow sets it: no token anywhere, an identity of the job instead."""
    hub.make({"organization": "ada", "name": "workbench"})
    here.environment |= {"HF_TOKEN": "", "HF_OIDC_RESOURCE": f"spaces/{NAME}", "GITHUB_ACTIONS": "true"}
    here.environment |= {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{hub.address}/github?v=1"}
    here.environment |= {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner"}
    run = here.deploy(NAME)
    assert run.returncode == 1 and "no trusted publisher" in run.stderr and "Traceback" not in run.stderr
    hub.publishers = {f"spaces/{NAME}"}
    assert here.deploy(NAME).returncode == 0 and len(hub.spaces[NAME].commits) == 2
    del here.environment["ACTIONS_ID_TOKEN_REQUEST_URL"]
    run = here.deploy(NAME)
    assert run.returncode == 1 and "id-token: write" in run.stderr and "Traceback" not in run.stderr


def test_no_hub(here: Repository) -> None:
    here.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    run = here.deploy(NAME)
    assert run.returncode == 1 and "cannot be reached (ConnectError)" in run.stderr and "Traceback" not in run.stderr


def test_one_tab_alone(hub: SpaceHub, here: Repository) -> None:
    run = here.deploy("ada/look", "--tab", "look")
    assert run.returncode == 0, run.stdout + run.stderr
    tree = hub.spaces["ada/look"].tree
    assert set(tree) == {
        *(".gitattributes", "README.md", "requirements.txt", "LICENSE", "REVISION", "spaces/look/app.py"),
        *("web/shell.py", "web/page.js", "lib/__init__.py", "lib/settings.py", "lib/errors.py"),
        *("lib/second/tasks.py", "lib/second/data.csv", "models/tiny_scenes/pen.py"),
    }
    assert tree["requirements.txt"] == b"look\n" and tree["README.md"].endswith(b"# look\n")
    assert tree["REVISION"].endswith(b"-look\n")


@pytest.mark.slow
def test_a_tab_takes_the_place_of_another_in_one_commit(hub: SpaceHub, here: Repository) -> None:
    assert here.deploy("ada/tab", "--tab", "look").returncode == 0
    assert here.deploy("ada/tab", "--tab", "draw").returncode == 0  # the same commit, and yet another revision
    space = hub.spaces["ada/tab"]
    assert len(space.commits) == 3 and space.serving["revision"].endswith("-draw")
    assert "models/tiny_scenes/weights/unet.safetensors" in space.tree and "lib/second/tasks.py" not in space.tree
