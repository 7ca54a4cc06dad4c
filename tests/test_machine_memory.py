"""Limits that fit what the host grants: a job that takes too much ends, and not the app with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib import machine_memory
from lib.jobs import Jobs
from lib.machine_memory import granted_mb, share_mb
from lib.settings import Settings

HUGE = 1 << 50


@pytest.fixture(autouse=True)
def a_big_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_memory, "_machine_bytes", lambda: HUGE)


def group(folder: Path, text: str) -> tuple[Path, ...]:
    (folder / "memory.max").write_text(text)
    return folder / "memory.max", folder / "there is none"


@pytest.mark.parametrize(
    ("said", "limit", "mb"),
    [
        ("15Gi", "max\n", 15360),
        ("16G", "max\n", 15258),
        ("", "4294967296\n", 4096),
        ("32Gi", "4294967296\n", 4096),
        ("2Gi", "4294967296\n", 2048),
        ("", "max\n", HUGE >> 20),
        ("plenty", "", HUGE >> 20),
    ],
)
def test_the_least_of_what_is_said(tmp_path: Path, said: str, limit: str, mb: int) -> None:
    assert granted_mb(said, group(tmp_path, limit)) == mb


def test_without_a_group_it_is_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with Path("/proc/meminfo").open() as file:
        assert granted_mb("", ()) == int(file.readline().split()[1]) >> 10


def test_a_share() -> None:
    assert share_mb(8192, 512, 2, 15360) == 6144  # a Space with 15 GiB
    assert share_mb(8192, 512, 1, 15360) == 8192
    assert share_mb(8192, 512, 4, 3072) == 512


def test_defaults_fit_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_memory, "LIMITS", ())
    space = Settings.from_environment({"MEMORY": "15Gi"})
    assert (space.job_memory_mb, space.convert_memory_mb, space.train_memory_mb) == (4096, 6144, 4096)
    for own in (space, Settings.from_environment({"MEMORY": "8Gi", "JOBS": "3", "TRAIN_JOBS": "2"})):
        granted = 15360 if own is space else 8192
        for memory, at_once in ((own.job_memory_mb, own.jobs), (own.convert_memory_mb, own.jobs)):
            assert memory * at_once + machine_memory.APP_MB <= granted
    chosen = Settings.from_environment({"MEMORY": "15Gi", "CONVERT_MEMORY_MB": "9000", "JOBS": "4"})
    assert chosen.convert_memory_mb == 9000 and chosen.job_memory_mb == 3072


def test_linux_ends_a_job_before_the_app() -> None:
    jobs = Jobs(workers=1, waiting=1, preload=("tests.job_tasks",))
    try:
        assert jobs.submit("tests.job_tasks:oom_score", {}).result() == {"adjusted": 1000}
    finally:
        jobs.close()
    assert int(Path("/proc/self/oom_score_adj").read_text()) < 1000
