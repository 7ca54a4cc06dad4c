"""A git remote whose hook deploys: a push is accepted only if the pushed revision runs.

The remote is a bare repository inside ``.git``. Its pre-receive hook runs ``spaces/deploy.py`` on the pushed commit. If
that fails, git rejects the push and shows the Space's log.
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
    """Run git in ``repository`` and return its output. Raises DeploymentFailed with git's message."""
    result = subprocess.run(["git", *words], cwd=repository, capture_output=True, text=True, check=False)
    if result.returncode:
        raise DeploymentFailed(result.stderr.strip() or f"git {words[0]} failed")
    return result.stdout.strip()


def install(repository: Path, script: Path, remote: str, words: list[str]) -> None:
    """Add ``remote``, where a push to main runs ``script --receive`` with ``words``. A second call replaces the words."""
    if not remote.replace("-", "").replace("_", "").isalnum():
        raise InvalidValue("remote", remote, "letters, digits, '-' and '_'")
    folder = (repository / git(repository, "rev-parse", "--git-common-dir") / f"{remote}.git").resolve()
    if remote in git(repository, "remote").split():
        if git(repository, "remote", "get-url", remote) != str(folder):
            raise InvalidValue("remote", remote, "a name that is not yet a remote; choose one with --remote")
    else:
        git(repository, "init", "--quiet", "--bare", str(folder))
        git(repository, "remote", "add", remote, str(folder))
    hook = folder / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    command = shlex.join([sys.executable, "-u", str(script), "--receive", *words])
    hook.write_text(f"#!/bin/sh\nexec {command}\n")
    hook.chmod(0o755)


def received(lines: list[str]) -> str:
    """Return the commit of a push from the input of a pre-receive hook: one line ``old new ref`` per ref.

    Raises DeploymentFailed unless the push updates main and nothing else.
    """
    updates = [line.split() for line in lines if line.strip()]
    commits = [new for _, new, ref in updates if ref == BRANCH and new != GONE]
    if len(updates) != 1 or len(commits) != 1:
        raise DeploymentFailed("A Space runs one branch: push only main (git push <remote> <branch>:main).")
    return commits[0]
