"""Every hostile data set: the right pictures are used, the others are listed by name, and no child survives badly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lib.errors import InvalidFile
from lib.jobs import Jobs, Limits
from lib.train.archives import unpack
from lib.train.data import DataSet
from lib.train.data_summary import summarize
from tests.train.hostile import FOLDERS, ZIPS, Case, good, zipped

LIMITS = Limits(memory_mb=1500, cpu_seconds=60, wall_seconds=120, file_mb=128)


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    one = Jobs(workers=1, waiting=4, preload=("lib.train.data_tasks",))
    one.start()
    yield one
    one.close()


def archive(case: Case, folder: Path) -> Path:
    path = folder / "upload.zip"
    path.write_bytes(case.raw() if case.raw is not None else zipped(case.members or []))
    return path


def take(jobs: Jobs, path: Path, home: Path) -> dict[str, Any]:
    arguments = {"archive": str(path), "name": "pets.zip", "home": str(home)}
    return jobs.submit("lib.train.data_tasks:take", arguments, limits=LIMITS).result()


def check(case: Case, summary: dict[str, Any]) -> None:
    assert summary["count"] == case.count
    assert tuple(row["name"] for row in summary["classes"]) == case.classes
    found = {row["name"]: row for row in summary["problems"]}
    assert len(found) == len(summary["problems"]) == summary["problems_count"] == len(case.problems), found
    for name, what in case.problems.items():
        row = next(
            row
            for shown, row in found.items()
            if shown == name or (len(name) > 120 and shown[:40] == name[:40]) or shown == name.replace("\n", "?")
        )
        assert what.removeprefix("+") in row["what"]
        assert row["used"] == what.startswith("+")
    assert summary["left_out"] == sum(not what.startswith("+") for what in case.problems.values())
    assert case.warning in " ".join(summary["warnings"])
    assert sum(len(rows) for rows in summary["samples"].values()) == sum(min(4, row["count"]) for row in summary["classes"])


def check_error(case: Case, error: InvalidFile, tmp_path: Path) -> None:
    assert case.error in error.message
    assert str(tmp_path) not in error.message and "/tmp" not in error.message
    assert len(error.message) < 900


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_in_a_child_process(name: str, jobs: Jobs, tmp_path: Path) -> None:
    case, home = ZIPS[name], tmp_path / "home"
    path = archive(case, tmp_path)
    if case.error:
        with pytest.raises(InvalidFile) as caught:
            take(jobs, path, home)
        check_error(case, caught.value, tmp_path)
        assert not (home / "pictures").exists()
        return
    summary = take(jobs, path, home)
    check(case, summary)
    assert {p.name for p in tmp_path.iterdir()} == {"upload.zip", "home"}  # nothing was written elsewhere
    again = DataSet.load(home)
    assert again.fingerprint == summary["fingerprint"]
    assert all(again.path(i).is_file() and not again.path(i).is_symlink() for i in range(len(again.items)))


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_here_gives_the_same(name: str, tmp_path: Path) -> None:
    case, folder = ZIPS[name], tmp_path / "pictures"
    try:
        left_out = unpack(archive(case, tmp_path), folder)
        data = DataSet.scan(folder, left_out=left_out.items())
    except InvalidFile as error:
        assert case.error
        check_error(case, error, tmp_path)
    else:
        assert not case.error
        check(case, asdict(summarize(data)))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_on_disk(name: str, tmp_path: Path) -> None:
    case, folder = FOLDERS[name], tmp_path / "pets"
    folder.mkdir()
    assert case.folder is not None
    case.folder(folder)
    if case.error:
        with pytest.raises(InvalidFile) as caught:
            DataSet.scan(folder)
        check_error(case, caught.value, tmp_path)
    else:
        check(case, asdict(summarize(DataSet.scan(folder))))
    assert {p.name for p in tmp_path.iterdir()} <= {"pets"}


def test_a_taken_home_is_left_alone(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    path.write_bytes(zipped(good()))
    first = take(jobs, path, tmp_path / "home")
    with pytest.raises(Exception, match="FileExistsError"):
        take(jobs, path, tmp_path / "home")
    assert summarize(DataSet.load(tmp_path / "home")).samples == first["samples"]
