"""A job's events in an event loop; whoever goes away cancels the job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from lib.jobs import Job, Progress, Result

HEARTBEAT = 1.0  # seconds; gradio notices that a client has gone only when something is yielded


async def follow_job(job: Job) -> AsyncIterator[Progress | Result]:
    """Progress, at least every second, and last the Result; raises what ``job.events`` raises.

    Closing it, or cancelling its task, kills the child process.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    latest: Progress | None = None  # only the newest counts, however many a job sends
    end: Result | BaseException | None = None

    def listen() -> None:
        nonlocal latest, end
        try:
            for event in job.events():
                if isinstance(event, Progress):
                    latest = event
                else:
                    end = event
                wake()
        except BaseException as error:
            end = error
            wake()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(news.set)

    threading.Thread(target=listen, name="job", daemon=True).start()
    last = Progress("Starting")
    try:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), HEARTBEAT)
            news.clear()
            if latest is not None:
                last, latest = latest, None
            if end is None:
                yield last
            elif isinstance(end, Result):
                yield end
                return
            else:
                raise end
    finally:
        job.cancel()
