"""A push remote of this repository whose hook deploys: a push that is accepted is a revision that runs.

The remote is a bare repository inside ``.git``. Its pre-receive hook runs ``spaces/deploy.py`` on the commit that
the push brings; where that fails, git rejects the push and shows the Space's log.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from lib.deploy import DeploymentFailed
from lib.errors import InvalidValue

BRANCH = "refs/heads/main"
GONE = "0" * 40


def git(repository: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=repository, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeploymentFailed(done.stderr.strip() or f"git {words[0]} failed")
    return done.stdout.strip()


def install(repository: Path, script: Path, remote: str, words: list[str]) -> None:
    """Adds ``remote``; a push to its main runs ``script --receive`` with ``words``. Again: the new words stand."""
    if not remote.replace("-", "").replace("_", "").isalnum():
        raise InvalidValue("remote", remote, "letters, digits, '-' and '_'")
    folder = (repository / git(repository, "rev-parse", "--git-common-dir") / f"{remote}.git").resolve()
    if remote in git(repository, "remote").split():
        if git(repository, "remote", "get-url", remote) != str(folder):
            raise InvalidValue("remote", remote, "a name that is not a remote already; choose one with --remote")
    else:
        git(repository, "init", "--quiet", "--bare", str(folder))
        git(repository, "remote", "add", remote, str(folder))
    hook = folder / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    command = shlex.join([sys.executable, "-u", str(script), "--receive", *words])
    hook.write_text(f"#!/bin/sh\nexec {command}\n")
    hook.chmod(0o755)


def received(lines: list[str]) -> str:
    """The commit of a push, from what git tells a pre-receive hook: ``old new ref`` a line."""
    updates = [line.split() for line in lines if line.strip()]
    wanted = [new for _, new, ref in updates if ref == BRANCH and new != GONE]
    if len(updates) != 1 or len(wanted) != 1:
        raise DeploymentFailed("A Space runs one branch: push main, alone (git push <remote> <branch>:main).")
    return wanted[0]
