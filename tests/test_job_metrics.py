"""Every job is counted once, by what ended it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib import jobs as module
from lib import metrics
from lib.errors import Cancelled, QueueFull, WorkbenchError
from lib.jobs import Jobs, Limits

LIMITS = Limits(memory_mb=600, cpu_seconds=20, wall_seconds=20, file_mb=32)


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    one = Jobs(workers=1, waiting=1, preload=("tests.job_tasks",))
    yield one
    one.close()


def counts(task: str) -> dict[str, float]:
    found = {}
    for family in metrics.JOBS.collect():
        for sample in family.samples:
            if sample.labels["kind"] == f"job_tasks.{task}":
                found[sample.labels["outcome"]] = sample.value
    return found


@pytest.mark.parametrize(
    ("task", "given", "limits", "outcome"),
    [
        ("echo", {}, LIMITS, "result"),
        ("refuse", {"how": "file"}, LIMITS, "invalid"),
        ("crash", {}, LIMITS, "crashed"),
        ("blow_up", {}, LIMITS, "crashed"),
        ("eat_memory", {}, LIMITS, "memory"),
        ("eat_disk", {}, LIMITS, "size"),
        ("hang", {}, Limits(wall_seconds=1), "time"),
        ("spin", {}, Limits(cpu_seconds=1), "time"),
        ("give_up", {}, LIMITS, "failed"),
    ],
)
def test_outcomes(jobs: Jobs, task: str, given: dict, limits: Limits, outcome: str) -> None:
    before = counts(task)
    job = jobs.submit(f"tests.job_tasks:{task}", given, limits=limits)
    if outcome == "result":
        job.result()
    else:
        with pytest.raises(WorkbenchError):
            job.result()
    assert counts(task) == before | {outcome: before.get(outcome, 0) + 1}


def test_who_leaves_and_who_finds_no_place(jobs: Jobs) -> None:
    assert module.under_way() == {"running": 0, "waiting": 0}
    before = counts("hang")
    first, second = (jobs.submit("tests.job_tasks:hang", {}) for _ in range(2))
    assert module.under_way() == {"running": 1, "waiting": 1}
    with pytest.raises(QueueFull):
        jobs.submit("tests.job_tasks:hang", {})
    events = first.events()
    next(events)
    events.close()
    second.cancel()
    with pytest.raises(Cancelled):
        second.result()
    after = counts("hang")
    assert after["refused"] == before.get("refused", 0) + 1
    assert after["cancelled"] == before.get("cancelled", 0) + 2
