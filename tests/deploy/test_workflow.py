"""``.github/workflows/deploy.yml``: off until it is wanted, tests before it deploys, and its commands are ours."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())
JOBS = WORKFLOW["jobs"]


def test_it_is_off_until_the_owner_sets_the_variable() -> None:
    assert all(job["if"] == "vars.SPACE != ''" for job in JOBS.values())


def test_main_is_deployed_when_its_tests_pass() -> None:
    assert WORKFLOW[True]["push"] == {"branches": ["main"]}  # YAML 1.1 reads "on" as true
    assert JOBS["deploy"]["needs"] == "test"
    commands = [step["run"] for step in JOBS["test"]["steps"] if "run" in step]
    assert "pip install -r requirements-dev.txt && python -m pytest" in commands  # the README's


def test_nothing_but_the_deployment_gets_a_token() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"} and "permissions" not in JOBS["test"]
    assert JOBS["deploy"]["permissions"] == {"contents": "read", "id-token": "write"}
    assert "HF_TOKEN" not in str(JOBS["test"])


@pytest.mark.parametrize("more", [{}, {"HARDWARE": "zerogpu", "TAB": "convert"}])
def test_its_last_command_is_one_that_deploy_takes(more: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "python").write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    (tmp_path / "python").chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SPACE": "ada/work bench"} | more
    command = JOBS["deploy"]["steps"][-1]["run"]
    run = subprocess.run(["bash", "-ec", command], env=variables, capture_output=True, text=True, check=True)
    options = ["--hardware", "zerogpu", "--tab", "convert"] if more else []
    assert run.stdout.splitlines() == ["spaces/deploy.py", "ada/work bench", *options]


def test_what_it_installs_is_enough() -> None:
    """The deployment needs huggingface_hub, of the pinned version, and the standard library."""
    install = JOBS["deploy"]["steps"][-2]["run"]
    run = subprocess.run(["bash", "-ec", install.replace("pip install", "echo")], cwd=ROOT, capture_output=True, text=True)
    assert re.fullmatch(r"huggingface_hub==[\d.]+\n", run.stdout)
    code = "import runpy, sys; sys.argv = ['x']; runpy.run_path('spaces/deploy.py'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    tops = {name.split(".")[0] for name in run.stdout.split()}
    assert "huggingface_hub" in tops and not tops & {"numpy", "torch", "gradio", "fastapi", "httpx", "PIL"}


DOCUMENTS = ("README.md", "docs/deploy.md", *(f"spaces/{p.parent.name}/README.md" for p in ROOT.glob("spaces/*/app.py")))


@pytest.mark.parametrize("page", DOCUMENTS)
def test_the_commands_that_are_written_down_are_taken(page: str) -> None:
    found = re.findall(r"python spaces/deploy\.py([^\n`#]*)", (ROOT / page).read_text())
    assert found
    code = "import runpy, sys; runpy.run_path('spaces/deploy.py')['arguments'](sys.argv[1:])"
    for words in found:
        run = subprocess.run([sys.executable, "-c", code, *shlex.split(words)], cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 0, f"{words}: {run.stderr}"
        if tab := re.search(r"--tab (\w+)", words):
            assert (ROOT / "spaces" / tab[1] / "app.py").is_file()
