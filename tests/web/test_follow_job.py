"""Jobs followed in an event loop: progress, heartbeats, errors; whoever leaves takes the child along."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing

import psutil
import pytest

from lib.errors import Cancelled, InvalidFile
from lib.jobs import Jobs, Progress, Result
from web.follow_job import follow_job


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    jobs = Jobs(workers=1, waiting=4, preload=("tests.job_tasks",))
    jobs.start()
    yield jobs
    jobs.close()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_progress_then_the_result(jobs: Jobs) -> None:
    async def watch() -> list[Progress | Result]:
        return [event async for event in follow_job(jobs.submit("tests.job_tasks:echo", {"a": 1}))]

    *before, last = asyncio.run(watch())
    # only the newest progress is passed on: the quick ones may be skipped
    assert set(before) <= {Progress("Starting"), Progress("Half of it", 0.5), Progress("Nobody knows")}
    assert isinstance(last, Result) and last.value["arguments"] == {"a": 1}


def test_leaving_kills_the_child_and_frees_the_place(jobs: Jobs) -> None:
    async def leave() -> int:
        events = follow_job(jobs.submit("tests.job_tasks:hang", {}))
        async for event in events:
            if isinstance(event, Progress) and event.stage.isdigit():
                await events.aclose()
                return int(event.stage)
        raise AssertionError

    assert gone(asyncio.run(leave()))
    assert jobs.submit("tests.job_tasks:echo", {}).result()["arguments"] == {}


def test_closing_waits_until_the_child_is_gone(jobs: Jobs) -> None:
    """Whoever closes it removes the folder next."""

    async def leave() -> bool:
        async with aclosing(follow_job(jobs.submit("tests.job_tasks:hang", {}))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.stage.isdigit():
                    break
        return psutil.pid_exists(int(event.stage))

    assert asyncio.run(leave()) is False


def test_a_silent_job_has_a_heartbeat(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """gradio notices only at a yield that a client has gone. The job itself speaks once."""
    monkeypatch.setattr("web.follow_job.HEARTBEAT", 0.1)

    async def count() -> int:
        seen = 0
        async with aclosing(follow_job(jobs.submit("tests.job_tasks:hang", {}))) as events:
            async for event in events:
                seen += isinstance(event, Progress) and event.stage.isdigit()
                if seen == 4:
                    break
        return seen

    assert asyncio.run(asyncio.wait_for(count(), 60)) == 4


def test_stop_is_heard_as_cancelled(jobs: Jobs) -> None:
    async def stop() -> None:
        job = jobs.submit("tests.job_tasks:hang", {})
        async for _ in follow_job(job):
            job.cancel()

    with pytest.raises(Cancelled):
        asyncio.run(stop())


def test_errors_come_through(jobs: Jobs) -> None:
    async def fail() -> None:
        async for _ in follow_job(jobs.submit("lib.onnx_inspect.tasks:from_text", {"text": "", "out": "/nowhere"})):
            pass

    with pytest.raises(InvalidFile, match="There is no text"):
        asyncio.run(fail())
