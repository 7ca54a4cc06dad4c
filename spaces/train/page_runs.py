"""The runs part of the page: a table of the visitor's runs, a comparison of two, and TensorBoard in an iframe."""

from __future__ import annotations

import asyncio

import gradio as gr
from markupsafe import Markup

from lib.errors import WorkbenchError
from lib.train.compare import compare
from lib.train.runs import RECORD, Run
from web.cards import failed, idle
from web.html import Html, html

from . import view, view_runs
from .board_routes import AUTO_RELOAD_JS
from .page_shared import QUIET, Shared, Updates
from .page_stage import stamp
from .subject import Subject

# the iframe is narrow, so TensorBoard's settings pane starts closed
NARROW_JS = """
(() => { try {
  const key = '_tb_global_settings', kept = JSON.parse(localStorage.getItem(key) || '{}');
  localStorage.setItem(key, JSON.stringify({ timeSeriesSettingsPaneOpened: false, ...kept }));
} catch (error) { /* no storage in this frame */ } })();
"""


class Runs:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.table = Html(idle(view_runs.NONE), padding=False, elem_id="train-runs", js_on_load=view.PICK)
        self.other = gr.Dropdown([], value=None, label="Compare the open run with", visible=False, elem_id="train-other")
        self.compared = Html(padding=False, elem_id="train-compared")
        self.outputs = [self.table, self.other, self.compared]

    def sign(self, owner: str, run: Run | None) -> str:
        """Return a string that changes whenever the output of ``show`` does. Reads no records, so it is cheap to poll."""
        home = self.shared.trainer.runs(owner).home
        folders = sorted(home.iterdir()) if home.is_dir() else []
        running = [one.run.id for one in self.shared.trainer.of(owner)]
        return f"{run.id if run else ''} {running} {[(f.name, stamp(Run(f), RECORD)) for f in folders]}"

    def show(self, owner: str, run: Run | None) -> Updates:
        records = self.shared.trainer.runs(owner).records()
        if not records:
            return {
                self.table: idle(view_runs.NONE),
                self.other: gr.Dropdown([], value=None, visible=False),
                self.compared: "",
            }
        shown = run.id if run else ""
        choices = view_runs.choices(records, shown) if any(r.id == shown and r.result for r in records) else []
        return {
            self.table: view_runs.table(records, shown),
            self.other: gr.Dropdown(choices, value=None, visible=bool(choices)),
            self.compared: "",
        }

    def connect(self) -> None:
        shared = self.shared

        async def compare_with(other: str | None, opened: Subject, key: str, http: gr.Request) -> str:
            if not other:
                return ""
            owner = shared.owner(key, http)
            first = await asyncio.to_thread(shared.chosen_run, owner, shared.state(http, opened).subject)
            try:
                second = await asyncio.to_thread(shared.trainer.runs(owner).find, other)
                return await asyncio.to_thread(_side_by_side, first, second)
            except WorkbenchError as error:
                return failed(error, "not compared")

        self.other.input(
            compare_with, [self.other, shared.subject, shared.key], self.compared, trigger_mode="always_last", **QUIET
        )


def _side_by_side(first: Run, second: Run) -> str:
    return view_runs.compared(compare(first, second), [first.metrics(), second.metrics()])


class Board:
    """TensorBoard in an iframe that is loaded when its tab is opened."""

    def __init__(self, shared: Shared, tab: gr.Tab) -> None:
        self.shared, self.tab = shared, tab
        self.frame = Html(idle("TensorBoard shows your runs here."), padding=False, elem_id="train-board")

    def connect(self) -> None:
        shared = self.shared

        def show(key: str, http: gr.Request) -> Markup:
            owner = shared.owner(key, http)
            if not shared.trainer.runs(owner).list():
                return idle("TensorBoard shows your runs here once there is one.")
            return html(
                '<div class="mw-train"><div class="mw-links"><a href="{0}" target="_blank" rel="noopener">Full screen'
                '</a></div><iframe class="mw-board" title="TensorBoard" src="{0}"></iframe></div>',
                f"./tensorboard/{shared.trainer.visitors.token(owner)}/",
            )

        before = f"(...given) => {{ {AUTO_RELOAD_JS} {NARROW_JS} return given; }}"
        self.tab.select(show, shared.key, self.frame, js=before, **QUIET)
