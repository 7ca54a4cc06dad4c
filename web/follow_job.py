"""Asynchronous iteration over the events of a job. Closing the iterator cancels the job."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from lib.jobs import EXIT_SECONDS, Job, Progress, Result

HEARTBEAT = 1.0  # seconds; Gradio only notices a disconnected client when something is yielded


async def follow_job(job: Job) -> AsyncIterator[Progress | Result]:
    """Yields Progress at least every second, and finally the Result. Raises what ``job.events`` raises.

    Closing the iterator, or cancelling its task, kills the child process and waits until it has exited, so that its
    folder can be removed. Leaving an ``async for`` does not close it: use ``async with aclosing(…)`` where that can
    happen.
    """
    loop, updated, finished = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    latest: Progress | None = None  # only the latest is yielded, however many a job sends
    end: Result | BaseException | None = None

    def listen() -> None:
        nonlocal latest, end
        try:
            for event in job.events():
                if isinstance(event, Progress):
                    latest = event
                else:
                    end = event
                tell(updated)
        except BaseException as error:
            end = error
            tell(updated)
        finally:
            tell(finished)

    def tell(event: asyncio.Event) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has stopped
            loop.call_soon_threadsafe(event.set)

    context = contextvars.copy_context()  # jobs started in the thread belong to this request, too
    threading.Thread(target=context.run, args=(listen,), name="job", daemon=True).start()
    last = Progress("Starting")
    try:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(updated.wait(), HEARTBEAT)
            updated.clear()
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
            await asyncio.wait_for(finished.wait(), EXIT_SECONDS)
