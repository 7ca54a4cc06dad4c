"""Asynchronous iteration over the events of a job. Closing the iterator cancels the job."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from lib.jobs import EXIT_SECONDS, Job, Progress, Result

HEARTBEAT = 1.0  # seconds; gradio notices that a client has gone only when something is yielded


async def follow_job(job: Job) -> AsyncIterator[Progress | Result]:
    """Progress, at least every second, and last the Result; raises what ``job.events`` raises.

    Closing it, or cancelling its task, kills the child process and waits until it is gone, so its folder can be
    removed. Leaving an ``async for`` closes nothing: use ``async with aclosing(…)`` where it may be left early.
    """
    loop, news, gone = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
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
                tell(news)
        except BaseException as error:
            end = error
            tell(news)
        finally:
            tell(gone)

    def tell(event: asyncio.Event) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server stopped
            loop.call_soon_threadsafe(event.set)

    context = contextvars.copy_context()  # jobs that start in the thread belong to this request, too
    threading.Thread(target=context.run, args=(listen,), name="job", daemon=True).start()
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
        with suppress(TimeoutError):
            await asyncio.wait_for(gone.wait(), EXIT_SECONDS)
