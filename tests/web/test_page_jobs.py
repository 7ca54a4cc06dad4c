"""What a page has under way: a new job of a kind ends the one before, and Stop finds all there are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lib.errors import Cancelled, QueueFull
from lib.jobs import Job, Jobs, Result
from web.page_jobs import PageJobs

PAGE: Any = SimpleNamespace(session_hash="page")


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    jobs = Jobs(workers=4, waiting=4, preload=("tests.job_tasks",))
    jobs.start()
    yield jobs
    jobs.close()


async def ends(under_way: PageJobs, job: Job) -> str:
    try:
        async for event in under_way.follow("run", lambda: job, PAGE):
            if isinstance(event, Result):
                return "result"
    except Cancelled:
        return "cancelled"
    return "replaced"


def hang(jobs: Jobs) -> Job:
    return jobs.submit("tests.job_tasks:hang", {})


def test_a_new_one_takes_the_place_silently_and_stop_is_heard(jobs: Jobs) -> None:
    async def visit() -> list[str]:
        under_way = PageJobs()
        first = asyncio.create_task(ends(under_way, hang(jobs)))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(ends(under_way, hang(jobs)))
        await asyncio.sleep(0.1)
        assert under_way.busy(PAGE)
        under_way.stop(PAGE)
        found = [await first, await second]
        assert not under_way.busy(PAGE)
        return found

    assert asyncio.run(visit()) == ["replaced", "cancelled"]


def test_stop_finds_the_third_though_the_second_was_refused(jobs: Jobs) -> None:
    """The first ends late, when the third has come already, and must not take its place in the table along."""

    def refuse() -> Job:
        raise QueueFull(3)

    async def visit() -> str:
        under_way = PageJobs()
        first = under_way.follow("run", lambda: hang(jobs), PAGE)
        await anext(first)
        with pytest.raises(QueueFull):
            await anext(under_way.follow("run", refuse, PAGE))
        third = asyncio.create_task(ends(under_way, hang(jobs)))
        await asyncio.sleep(0.1)
        async for _ in first:
            pass
        assert under_way.busy(PAGE)
        under_way.stop(PAGE)
        return await asyncio.wait_for(third, 10)

    assert asyncio.run(visit()) == "cancelled"
