"""The soak ends well for a minute, and its judgement can end badly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak import flat, judged

ROOT = Path(__file__).parent.parent.parent
WELL: dict[str, Any] = {
    "answers": {"rest": {"right": 3}},
    "faults": [],
    "before": {"threads": 17, "files": 20},
    "after": {"threads": 18, "files": 20},
    "growth": 1.01,
    "log": [],
    "left": [],
    "status": 0,
}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_minute(tmp_path: Path) -> None:
    report = tmp_path / "soak.json"
    command = [sys.executable, "benchmarks/soak.py", "--seconds", "60", "--report", str(report)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1400)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    found = json.loads(report.read_text())
    assert found["wrong"] == [] and found["clients"] == 64
    assert sum(found["answers"]["rest"].values()) and sum(found["answers"]["page"].values())


def test_all_well() -> None:
    assert judged(WELL) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"faults": [["rest", "lost: ReadError"]]}, "lost"),
        ({"growth": 1.06}, "memory grew by 6.0%"),
        ({"after": {"threads": 900, "files": 20}}, "threads: 17 before, 900 after"),
        ({"after": {"threads": 17, "files": 40}}, "files"),
        ({"log": ["{}"]}, "in the log"),
        ({"left": ["a.png"]}, "a.png"),
        ({"status": None}, "SIGTERM"),
        ({"answers": {"rest": {}}}, "not one answer"),
    ],
)
def test_what_is_not_well(change: dict[str, Any], words: str) -> None:
    (fault,) = judged(WELL | change)
    assert words in fault


def test_flat() -> None:
    def run(seconds: int, level: Any) -> float | None:
        return flat([(float(t), level(t)) for t in range(0, seconds, 5)])

    assert run(60, lambda t: 1000.0) is None
    assert run(1800, lambda t: 1000.0 if t > 30 else 800.0) == 1.0
    assert run(1800, lambda t: 1000.0 + t / 10) == pytest.approx(1.13, abs=0.01)
