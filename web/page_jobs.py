"""The running jobs of each open page, so that Stop and new requests cancel them. Independent of the tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import gradio as gr

from lib.errors import Cancelled
from lib.jobs import Job, Progress, Result

from .follow_job import follow_job


class PageJobs:
    """At most one job of each kind per page: a new one cancels its predecessor silently."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, Job]] = {}  # by page and kind

    async def follow(self, kind: str, ask: Callable[[], Job], http: gr.Request) -> AsyncIterator[Progress | Result]:
        """Starts a job with ``ask`` and yields its events.

        Raises what they raise, except Cancelled if a newer job has replaced it.
        """
        page_jobs = self._jobs.setdefault(http.session_hash, {})
        if (earlier := page_jobs.pop(kind, None)) is not None:
            earlier.cancel()
        try:
            job = page_jobs[kind] = ask()
            try:
                async with aclosing(follow_job(job)) as events:
                    async for event in events:
                        yield event
            except Cancelled:
                if page_jobs.get(kind) is job:
                    raise
            finally:
                if page_jobs.get(kind) is job:
                    del page_jobs[kind]
        finally:
            # a replaced job may end after a newer one was registered
            if not page_jobs and self._jobs.get(http.session_hash) is page_jobs:
                self._jobs.pop(http.session_hash, None)

    def stop(self, http: gr.Request) -> None:
        """Cancels all jobs of the page; ``follow`` then raises Cancelled."""
        for job in list(self._jobs.get(http.session_hash, {}).values()):
            job.cancel()

    def busy(self, http: gr.Request) -> bool:
        """Whether the page has a running job."""
        return bool(self._jobs.get(http.session_hash))
