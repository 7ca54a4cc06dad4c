"""The result part of the page: verdict, remedies, files and details, and a table for several targets."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from markupsafe import Markup

from web.cards import failed
from web.handover import Offer
from web.html import Html

from . import view_details, view_verdict
from .page_shared import Shared, Updates
from .subject import Outcome, Results, TabState
from .view_shared import PICK

MAX_REMEDIES = 4


class Result:
    """The verdict and files are rendered where it is created, the detail tables by ``build_details``."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.table = Html(padding=False, elem_id="convert-several", js_on_load=PICK)
        self.verdict = Html(padding=False, elem_id="convert-verdict")
        with gr.Column(visible=False, elem_id="convert-remedies", min_width=0) as self.remedies_column:
            Html(Markup('<p class="mw-help">Try one of these. A click converts again.</p>'), padding=False)
            self.remedies = [gr.Button(size="sm", visible=False) for _ in range(MAX_REMEDIES)]
        with gr.Row(visible=False) as self.downloads:
            self.artifact = gr.DownloadButton("Download the model", variant="primary", min_width=150)
            self.package = gr.DownloadButton("Download with report (.zip)", min_width=150)
            self.look_inside = gr.Button("Open in Inspect", visible=False, min_width=150)
        self.outputs = [self.table, self.verdict, self.remedies_column, *self.remedies]
        self.outputs += [self.downloads, self.artifact, self.package, self.look_inside]
        self.offer = Offer("onnx", self.look_inside, shared.state, _files_to_inspect, "inspect")

    def build_details(self) -> None:
        with gr.Tabs(visible=False, elem_classes="mw-inner", overflow_behavior="wrap") as self.details:
            with gr.Tab("Errors"):
                self.errors = Html(padding=False, elem_id="convert-errors")
            with gr.Tab("Layers", visible=False) as self.layers_tab:
                self.layers = Html(padding=False, elem_id="convert-layers")
            with gr.Tab("Steps"):
                self.steps = Html(padding=False)
            with gr.Tab("Size and speed"):
                self.sizes = Html(padding=False, elem_id="convert-sizes")
            with gr.Tab("Messages"):
                self.messages = Html(padding=False)
            with gr.Tab("Report"):
                self.report = gr.JSON(label="report.json", max_height=480)
        self.outputs += [self.details, self.errors, self.layers_tab, self.layers, self.steps, self.sizes, self.messages]
        self.outputs.append(self.report)

    def no_result(self, words: str = "") -> Updates:
        """Return the updates that hide the result. ``words``: progress or an error, shown in its place."""
        hidden: Updates = {self.downloads: gr.Row(visible=False), self.remedies_column: gr.Column(visible=False)}
        return hidden | {self.table: "", self.verdict: words, self.details: gr.Tabs(visible=False)}

    async def show_for_target(self, results: Results | None, choice: str | None) -> Updates:
        """Return the updates after another target was chosen.

        They show its result. If it has none, they dim the old result and hide its files, so that it is not mistaken for
        the new target's.
        """
        outcome = results.open if results else None
        if results is None or outcome is None:
            return {}
        if choice in results.outcomes:
            results.shown = choice
            return await self.show(results)
        hidden: Updates = {self.downloads: gr.Row(visible=False), self.remedies_column: gr.Column(visible=False)}
        return hidden | {self.verdict: view_verdict.verdict(outcome, stale=True), self.details: gr.Tabs(visible=False)}

    async def show(self, results: Results) -> Updates:
        """Return the updates for the open result, and for the table if there are several."""
        several = len(results.outcomes) + len(results.errors) > 1
        table = view_verdict.several(results, await asyncio.to_thread(_links, results)) if several else ""
        if results.open is None:
            message = "" if several else failed(*results.errors.values(), "not converted")
            return self.no_result(message) | {self.table: table}
        return await asyncio.to_thread(self._open, results.open) | {self.table: table}

    def _open(self, end: Outcome) -> Updates:
        report = end.report
        can_inspect = bool(self.offer.taken and end.files_to_inspect())
        layers = view_details.layers(report)
        button_style = ("Download anyway", "stop") if end.withheld else ("Download the model", "primary")
        return self._remedies(end) | {
            self.verdict: view_verdict.verdict(end),
            self.downloads: gr.Row(visible=end.path("artifact") is not None),
            self.artifact: gr.DownloadButton(button_style[0], variant=button_style[1], value=end.path("artifact")),
            self.package: gr.DownloadButton(value=end.path("package")),
            self.look_inside: gr.Button(visible=can_inspect),
            self.details: gr.Tabs(visible=True),
            self.errors: view_details.outputs(report),
            self.layers_tab: gr.Tab(visible=bool(layers)),
            self.layers: layers,
            self.steps: view_details.steps(report),
            self.sizes: view_details.sizes(report),
            self.messages: view_details.messages(report),
            self.report: report,
        }

    def _remedies(self, end: Outcome) -> Updates:
        rows = remedies(end)
        updates: Updates = {self.remedies_column: gr.Column(visible=bool(rows))}
        for k, button in enumerate(self.remedies):
            updates[button] = gr.Button(rows[k]["text"] if k < len(rows) else "", visible=k < len(rows))
        return updates


def remedies(end: Outcome) -> list[dict[str, Any]]:
    """Return the remedies that a click can try."""
    return [r for r in end.report.get("remedies") or [] if r.get("options") or r.get("target")][:MAX_REMEDIES]


def _links(results: Results) -> dict[str, str]:
    """Return the URLs of the files by target. Copies in gradio's upload folder, which gradio serves and cleans up."""
    from gradio.utils import get_upload_folder

    urls = {}
    for target, outcome in results.outcomes.items():
        if (path := outcome.path("artifact")) is not None:
            urls[target] = f"./gradio_api/file={quote(save_file_to_cache(path, get_upload_folder()))}"
    return urls


def _files_to_inspect(state: TabState | None) -> list[str]:
    outcome = state.results.open if state and state.results else None
    paths = outcome.files_to_inspect() if outcome is not None else []
    if not paths:
        raise gr.Error("There is no result to open. Convert again.", print_exception=False)
    return paths
