"""Damaged copies of the examples: every one gets a report or a refusal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.errors import JobFailed
from lib.jobs import Jobs
from lib.onnx_inspect.examples import EXAMPLES
from tests.onnx_inspect import mutate
from tests.onnx_inspect.ask import MACHINE, SMALL, ask

BATCH = 50


def mutants(count: int) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    whole = {name: make().SerializeToString(deterministic=True) for name, make in EXAMPLES.items()}
    out = {}
    for k in range(count):
        name = list(whole)[k % len(whole)]
        data, done = mutate.mutant(whole[name], rng)
        out[f"{k} {name}: {done}"] = data
    return out


def inspected(jobs: Jobs, paths: dict[str, str]) -> dict[str, Any]:
    """By name, what ``tests.job_tasks:inspect_many`` says; files of a batch that dies go alone, as a visitor's do."""
    limits = replace(SMALL, wall_seconds=120, cpu_seconds=120)
    try:
        return jobs.submit("tests.job_tasks:inspect_many", {"files": paths}, limits=limits).result()
    except JobFailed:
        out = {}
        for name, path in paths.items():
            answer = ask(jobs, "inspect", model=path, externals={}, name=name, symbols={})
            out[name] = {"report": json.dumps(answer)} if isinstance(answer, dict) else {"refused": answer.message}
        return out


@pytest.mark.parametrize("count", [400, pytest.param(2000, marks=pytest.mark.slow)])
def test_every_damaged_model_is_answered(count: int, tmp_path: Path) -> None:
    paths = {}
    for k, (name, data) in enumerate(mutants(count).items()):
        path = tmp_path / f"{k}.onnx"
        path.write_bytes(data)
        paths[name] = str(path)
    batches = [dict(list(paths.items())[k : k + BATCH]) for k in range(0, count, BATCH)]
    jobs = Jobs(workers=2, waiting=len(batches), preload=("tests.job_tasks",))
    try:
        with ThreadPoolExecutor(2) as pool:
            found = {n: v for batch in pool.map(lambda b: inspected(jobs, b), batches) for n, v in batch.items()}
    finally:
        jobs.close()
    assert list(found) == list(paths)
    assert not {name: answer["broken"] for name, answer in found.items() if "broken" in answer}
    kinds: Counter[str] = Counter()
    for name, answer in found.items():
        text = answer.get("report") or answer["refused"]
        assert not MACHINE.search(text) and str(tmp_path) not in text, (name, text[:3000])
        report = json.loads(text) if "report" in answer else None
        kinds["refused" if report is None else "valid" if report["valid"] else "not valid"] += 1
        # a lint that trips over the damage is left out, but only where the checker has named the damage
        assert report is None or not report["valid"] or "this lint failed" not in text, name
    assert all(kinds[kind] > count // 20 for kind in ("refused", "not valid", "valid")), kinds


@pytest.mark.parametrize("one", mutate.BYTES, ids=lambda m: m.__name__)
def test_a_change_of_bytes_changes_something(one: Callable) -> None:
    rng, before, changed = np.random.default_rng(1), bytearray(range(1, 256)), 0
    for _ in range(20):
        data = bytearray(before)
        one(data, int(rng.integers(255)), rng)
        changed += data != before
    assert changed >= 15


@pytest.mark.parametrize("name", EXAMPLES)
def test_fields_survive_the_way_there_and_back(name: str) -> None:
    data = EXAMPLES[name]().SerializeToString()
    fields = mutate.decoded(data)
    assert mutate.encoded(fields) == data and len(mutate.parents(fields)) > 30
