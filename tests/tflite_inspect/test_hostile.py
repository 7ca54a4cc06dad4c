"""Damaged files in child processes: each ends with a report or with words; nothing of this machine is in them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InvalidFile, JobFailed
from lib.jobs import Jobs, Limits, Result
from lib.tflite import metadata
from tests.convert.tflite_models import dense
from tests.tflite.files import classifier

LIMITS = Limits(memory_mb=2048, wall_seconds=60, cpu_seconds=60)
INSIDE = ("Traceback", "/tmp/", "/root", "object has no attribute", "NoneType", "\x1b")


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    jobs = Jobs(workers=2, waiting=4, preload=("lib.tflite_inspect.tasks",))
    jobs.start()
    yield jobs
    jobs.close()


def files(folder: Path) -> list[bytes]:
    classifier(folder / "plain.tflite")
    told = metadata.classifier(["cat", "dog", "bird", "fish"], author="Ada", mean=[127.5], std=[127.5])
    metadata.write(folder / "plain.tflite", folder / "animals.tflite", told)
    return [(folder / "animals.tflite").read_bytes(), (dense(folder / "d")[0] / "model.tflite").read_bytes()]


def ended(jobs: Jobs, task: str, **arguments: object) -> str:
    """result, invalid or failed."""
    job = jobs.submit(f"lib.tflite_inspect.tasks:{task}", arguments, limits=LIMITS)
    try:
        found = next(e.value for e in job.events() if isinstance(e, Result))
        json.dumps(found, allow_nan=False)
        return "result"
    except (InvalidFile, JobFailed) as error:
        assert not any(words in error.message for words in INSIDE), error.message
        return "invalid" if isinstance(error, InvalidFile) else f"failed: {error.message}"


def test_changed_bytes(jobs: Jobs, tmp_path: Path) -> None:
    rng, seen, whole = np.random.default_rng(7), Counter(), files(tmp_path)
    for number in range(40):
        data = bytearray(whole[number % 2])
        for place in rng.integers(8, len(data), rng.integers(1, 5)):
            data[place] = rng.integers(0, 256)
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(data)
        seen[ended(jobs, "inspect", model=str(path), name="m.tflite", sizes={})] += 1
        if number % 4 == 0:
            seen[ended(jobs, "execute", model=str(path), inputs=None, seed=0, runs=1, sizes={})] += 1
    assert seen["result"] >= 5 and seen["invalid"] >= 5, seen
