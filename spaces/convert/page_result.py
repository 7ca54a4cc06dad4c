"""Results of a conversion: verdict, remedies, files and details; for several targets also a table."""

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
    """``build`` puts verdict and files into one column, ``build_details`` the tables under both."""

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
        """Hides the result. ``words`` is shown in its place: progress or an error."""
        hidden: Updates = {self.downloads: gr.Row(visible=False), self.remedies_column: gr.Column(visible=False)}
        return hidden | {self.table: "", self.verdict: words, self.details: gr.Tabs(visible=False)}

    async def show_for_target(self, results: Results | None, choice: str | None) -> Updates:
        """After the choice of another target: shows its result. If it has none, the old result is dimmed and its files
        are hidden, so that nobody takes it for the new target's."""
        end = results.open if results else None
        if results is None or end is None:
            return {}
        if choice in results.outcomes:
            results.shown = choice
            return await self.show(results)
        hidden: Updates = {self.downloads: gr.Row(visible=False), self.remedies_column: gr.Column(visible=False)}
        return hidden | {self.verdict: view_verdict.verdict(end, stale=True), self.details: gr.Tabs(visible=False)}

    async def show(self, results: Results) -> Updates:
        """The result that is open, and the table if there are several."""
        several = len(results.outcomes) + len(results.errors) > 1
        table = view_verdict.several(results, await asyncio.to_thread(_links, results)) if several else ""
        if results.open is None:
            words = "" if several else failed(*results.errors.values(), "not converted")
            return self.no_result(words) | {self.table: table}
        return await asyncio.to_thread(self._open, results.open) | {self.table: table}

    def _open(self, end: Outcome) -> Updates:
        found = end.report
        takes = bool(self.offer.taken and end.files_to_inspect())
        layers = view_details.layers(found)
        words = ("Download anyway", "stop") if end.withheld else ("Download the model", "primary")
        return self._remedies(end) | {
            self.verdict: view_verdict.verdict(end),
            self.downloads: gr.Row(visible=end.path("artifact") is not None),
            self.artifact: gr.DownloadButton(words[0], variant=words[1], value=end.path("artifact")),
            self.package: gr.DownloadButton(value=end.path("package")),
            self.look_inside: gr.Button(visible=takes),
            self.details: gr.Tabs(visible=True),
            self.errors: view_details.outputs(found),
            self.layers_tab: gr.Tab(visible=bool(layers)),
            self.layers: layers,
            self.steps: view_details.steps(found),
            self.sizes: view_details.sizes(found),
            self.messages: view_details.messages(found),
            self.report: found,
        }

    def _remedies(self, end: Outcome) -> Updates:
        found = remedies(end)
        shown: Updates = {self.remedies_column: gr.Column(visible=bool(found))}
        for k, button in enumerate(self.remedies):
            shown[button] = gr.Button(found[k]["text"] if k < len(found) else "", visible=k < len(found))
        return shown


def remedies(end: Outcome) -> list[dict[str, Any]]:
    """The remedies that a click can try."""
    return [r for r in end.report.get("remedies") or [] if r.get("options") or r.get("target")][:MAX_REMEDIES]


def _links(results: Results) -> dict[str, str]:
    """Addresses of the files by target. Copies in gradio's upload folder, which gradio serves and cleans up."""
    from gradio.utils import get_upload_folder

    out = {}
    for target, one in results.outcomes.items():
        if (path := one.path("artifact")) is not None:
            out[target] = f"./gradio_api/file={quote(save_file_to_cache(path, get_upload_folder()))}"
    return out


def _files_to_inspect(state: TabState | None) -> list[str]:
    end = state.results.open if state and state.results else None
    found = end.files_to_inspect() if end is not None else []
    if not found:
        raise gr.Error("There is no result to open. Convert again.", print_exception=False)
    return found
