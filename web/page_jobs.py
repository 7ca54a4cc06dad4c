"""The running jobs of each open page, so that Stop and a new request cancel them. Knows no task."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import gradio as gr

from lib.errors import Cancelled
from lib.jobs import Job, Progress, Result

from .follow_job import follow_job


class PageJobs:
    """At most one job of a kind per page: a new one cancels the one before, silently."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, Job]] = {}  # by page and kind

    async def follow(self, kind: str, ask: Callable[[], Job], http: gr.Request) -> AsyncIterator[Progress | Result]:
        """The events of the job that ``ask`` starts. Raises what they raise, but nothing if a newer job replaced it."""
        mine = self._jobs.setdefault(http.session_hash, {})
        if (earlier := mine.pop(kind, None)) is not None:
            earlier.cancel()
        try:
            job = mine[kind] = ask()
            try:
                async with aclosing(follow_job(job)) as events:
                    async for event in events:
                        yield event
            except Cancelled:
                if mine.get(kind) is job:
                    raise
            finally:
                if mine.get(kind) is job:
                    del mine[kind]
        finally:
            # a replaced job may end after a newer one was registered
            if not mine and self._jobs.get(http.session_hash) is mine:
                self._jobs.pop(http.session_hash, None)

    def stop(self, http: gr.Request) -> None:
        """Cancels all jobs of the page; ``follow`` then raises Cancelled."""
        for job in list(self._jobs.get(http.session_hash, {}).values()):
            job.cancel()

    def busy(self, http: gr.Request) -> bool:
        """Whether the page has a running job."""
        return bool(self._jobs.get(http.session_hash))
