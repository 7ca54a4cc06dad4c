"""Visitors' folders survive what tidies up the temporary directory; what nobody holds any more does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from web.folders import Folders

LONG_AGO = time.time() - 100 * 3600
SERVER = """
import os, sys
from web.folders import Folders
print(Folders("workbench-test-").new(), flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders = Folders("workbench-test-")
    yield folders
    folders.close()


def age(folder: Path) -> None:
    os.utime(folder, (LONG_AGO, LONG_AGO))


def test_a_home_that_was_removed_is_made_again(folders: Folders) -> None:
    first = Path(folders.new())
    shutil.rmtree(first.parent)
    second = Path(folders.new())
    assert second.is_dir() and Path(folders.new()).parent == second.parent
    folders.close()
    assert not second.parent.exists()


def test_a_home_that_somebody_else_has_put_there_is_not_used(folders: Folders, tmp_path: Path) -> None:
    home = Path(folders.new()).parent
    shutil.rmtree(home)
    (tmp_path / "trap").mkdir()
    home.symlink_to(tmp_path / "trap")
    assert Path(folders.new()).parent != home
    folders.close()
    assert (tmp_path / "trap").is_dir()


def test_an_idle_server_keeps_its_folders(folders: Folders) -> None:
    kept = Path(folders.new())
    age(kept.parent)
    other = Folders(folders.prefix)
    other.sweep(24)
    assert kept.is_dir()
    folders.close()


def test_what_a_killed_server_left_is_removed_when_it_is_old(folders: Folders, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None
    home = Path(server.stdout.readline().strip()).parent
    age(home)
    folders.sweep(24)
    assert home.is_dir()  # the server lives
    server.stdin.close()
    server.wait()
    server.stdout.close()
    os.utime(home)
    folders.sweep(24)
    assert home.is_dir()  # young
    age(home)
    folders.sweep(24)
    assert not home.exists()


def test_a_link_is_not_followed(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "somebody").mkdir()
    age(tmp_path / "somebody")
    link = tmp_path / f"{folders.prefix}link"
    link.symlink_to(tmp_path / "somebody")
    os.utime(link, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    folders.sweep(24)
    assert (tmp_path / "somebody").is_dir()
