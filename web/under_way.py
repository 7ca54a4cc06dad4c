"""What each open page has under way, so that its Stop and its next request end it. Knows no task."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import gradio as gr

from lib.errors import Cancelled
from lib.jobs import Job, Progress, Result

from .follow_job import follow_job


class UnderWay:
    """One job of a kind a page: a new one ends the one before, silently."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, Job]] = {}  # by page and kind

    async def follow(self, kind: str, ask: Callable[[], Job], http: gr.Request) -> AsyncIterator[Progress | Result]:
        """The events of the job that ``ask`` starts. Raises what they raise; nothing when a newer one took its place."""
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
            # an earlier one that ends late may meet what a later one has put in its place
            if not mine and self._jobs.get(http.session_hash) is mine:
                self._jobs.pop(http.session_hash, None)

    def stop(self, http: gr.Request) -> None:
        """Ends all of a page's; it hears of that through whoever follows them."""
        for job in list(self._jobs.get(http.session_hash, {}).values()):
            job.cancel()

    def busy(self, http: gr.Request) -> bool:
        """Whether a page has anything under way."""
        return bool(self._jobs.get(http.session_hash))
