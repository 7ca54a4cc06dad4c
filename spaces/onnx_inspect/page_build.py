"""The build part of the page: builds a model from ONNX text, or shows the open model as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.onnx_inspect.catalogue import LINEAR, LOOP, SCALED
from web.cards import failed
from web.html import Html

from . import view
from .page_shared import QUIET, Shared, Updates, Values, require_open
from .subject import Subject

TEXTS = {"Y = X·A + B": LINEAR, "a loop": LOOP, "functions": SCALED}


class Build:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        gr.Markdown("Write a model as ONNX text. **Build** makes it the open model in all tabs.")
        self.examples = gr.Radio(list(TEXTS), label="Start from", value=next(iter(TEXTS)))
        self.text = gr.Textbox(LINEAR, label="ONNX text", lines=16, max_lines=40, elem_id="onnx-text", buttons=["copy"])
        with gr.Row():
            self.start = gr.Button("Build", variant="primary")
            self.read = gr.Button("Show the open model as text")
            self.download = gr.DownloadButton("Download .onnx", interactive=False)
        self.note = Html(padding=False, elem_id="onnx-built")
        self.outputs = [self.note, self.download]

    def show(self) -> Updates:
        return {self.note: "", self.download: gr.DownloadButton(value=None, interactive=False)}

    def connect(self, opening: Any, summary: gr.HTML, everything: list[Any]) -> None:
        """Connect the handlers. ``opening`` follows a job and yields the updates of the whole page for its model."""
        shared, bench = self.shared, self.shared.bench

        async def build(words: str, before: Subject | None, http: gr.Request) -> Values:
            folder = bench.folders.new()
            now = Subject(str(Path(folder) / "model.onnx"), "model.onnx", out=folder)
            async for values in opening(now, before, lambda: bench.build(words or "", folder), http, "not built"):
                if shared.subject in values:
                    button = gr.DownloadButton(value=now.model, interactive=True)
                    yield values | {self.note: view.built(values[summary]), self.download: button}
                else:  # progress or an error: shown next to the text, so that the summary stays
                    yield {self.note: values[summary]}

        async def as_text(now: Subject | None, http: gr.Request) -> Values:
            model = require_open(now)
            try:
                async for answer in shared.follow("text", lambda: bench.show(model), http):
                    yield {self.note: answer} if isinstance(answer, str) else {self.text: answer["text"], self.note: ""}
            except WorkbenchError as error:
                yield {self.note: failed(error, "no text")}

        self.examples.input(lambda name: TEXTS[name], self.examples, self.text, **QUIET)
        shared.on([self.start.click], build, [self.text, shared.subject], everything)
        shared.on([self.read.click], as_text, shared.subject, [self.text, self.note])
