"""The panel that watches a served run. Its component asks for the newest figures while it can be seen, and not else."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.train.runs import Run
from lib.train.training import BEST
from web.cards import failed, idle
from web.html import Html

from . import view_watch
from .page_shared import QUIET, Shared, Updates
from .page_stage import stamp
from .subject import Subject

SECONDS = 4.0  # between two looks


class Watch:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        script = view_watch.script(SECONDS)
        self.panel = Html(idle(view_watch.NOTHING), padding=False, elem_id="train-watch", js_on_load=script)
        self.how = Html(padding=False)  # apart: what is opened in it stays open
        self.outputs = [self.panel, self.how]

    def show(self, run: Run | None) -> Updates:
        """What to show until the panel itself asks."""
        there = run is not None and stamp(run, BEST)
        return {self.panel: idle("Looking …" if there else view_watch.NOTHING), self.how: ""}

    def connect(self) -> None:
        shared = self.shared

        async def look(opened: Subject, key: str, shown: str, how: str, http: gr.Request) -> list[Any]:
            owner, state = shared.owner(key, http), shared.state(http, opened)
            run = await asyncio.to_thread(shared.run, owner, state.subject)
            if run is None or not stamp(run, BEST):
                return [idle(view_watch.NOTHING), ""]
            try:
                found = await asyncio.to_thread(shared.trainer.monitor, run)
            except WorkbenchError as error:
                return [failed(error, "not watched"), gr.skip()]
            how_to = view_watch.how(run.id, _server(http), found.stored, not found.requests)
            now = view_watch.panel(found), how_to
            return [new if new != old else gr.skip() for new, old in zip(now, (shown, how), strict=True)]

        self.panel.tick(look, [shared.subject, shared.key, *self.outputs], self.outputs, queue=False, **QUIET)


def _server(http: gr.Request) -> str:
    """This server as the visitor's browser reaches it."""
    return str(http.request.base_url).rstrip("/") if http.request else ""
