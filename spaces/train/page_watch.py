"""The panel that monitors a served run. Its component polls for new figures only while it is visible."""

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

SECONDS = 4.0  # polling interval


class Watch:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        script = view_watch.script(SECONDS)
        self.panel = Html(idle(view_watch.NOTHING), padding=False, elem_id="train-watch", js_on_load=script)
        self.how = Html(padding=False)  # separate, so that updates of the panel do not close its details
        self.outputs = [self.panel, self.how]

    def show(self, run: Run | None) -> Updates:
        """Return what to show until the panel's first poll."""
        trained = run is not None and stamp(run, BEST)
        return {self.panel: idle("Looking …" if trained else view_watch.NOTHING), self.how: ""}

    def connect(self) -> None:
        shared = self.shared

        async def look(opened: Subject, key: str, shown: str, how: str, http: gr.Request) -> list[Any]:
            owner, state = shared.owner(key, http), shared.state(http, opened)
            run = await asyncio.to_thread(shared.run, owner, state.subject)
            if run is None or not stamp(run, BEST):
                return [idle(view_watch.NOTHING), ""]
            try:
                report = await asyncio.to_thread(shared.trainer.monitor, run)
            except WorkbenchError as error:
                return [failed(error, "not watched"), gr.skip()]
            commands = view_watch.how(run.id, _server(http), report.stored, not report.requests)
            panels = view_watch.panel(report), commands
            return [new if new != old else gr.skip() for new, old in zip(panels, (shown, how), strict=True)]

        self.panel.tick(look, [shared.subject, shared.key, *self.outputs], self.outputs, queue=False, **QUIET)


def _server(http: gr.Request) -> str:
    """Return the base URL of this server as the visitor's browser reaches it."""
    return str(http.request.base_url).rstrip("/") if http.request else ""
