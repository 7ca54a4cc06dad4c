"""The compare part of the page: compares two models. Before is the open model unless a file is dropped there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from lib.errors import InvalidFile, WorkbenchError
from lib.jobs import Job
from web.cards import failed
from web.html import Html, html

from . import view
from .page_shared import Shared, Updates, Values, table
from .subject import Subject, tolerance, uploaded

LABELS = {"rtol": "Relative tolerance", "atol": "Absolute tolerance"}
CHOOSE = "Choose two models to compare: open one or drop it under Before, then drop the other one under After."


class Compare:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.before_line = Html(padding=False, elem_id="onnx-before")
        with gr.Row():
            file_options = {"file_count": "multiple", "type": "filepath", "height": 130}
            self.old = gr.File(label="Before", elem_id="onnx-old", **file_options)
            self.new = gr.File(label="After", elem_id="onnx-new", **file_options)
        with gr.Row():
            self.rtol = gr.Number(0.0, label="Relative tolerance", min_width=120)
            self.atol = gr.Number(0.0, label="Absolute tolerance", min_width=120)
            self.start = gr.Button("Compare", variant="primary", min_width=120)
            self.example = gr.Button("Compare two examples", size="sm", min_width=120, scale=0)
        self.difference = Html(padding=False, elem_id="onnx-difference")
        self.changes = table(view.CHANGE_COLUMNS, ["str"] * 5, "Changes", visible=False)
        self.outputs = [self.before_line, self.old, self.new, self.difference, self.changes]

    def show(self, now: Subject) -> Updates:
        return {
            self.before_line: html('<p class="mw-graph-line">Leave Before empty to compare with <b>{}</b>.</p>', now.name)
        } | self.no_result()

    def no_result(self, words: str = "") -> Updates:
        return {self.difference: words, self.changes: gr.Dataframe(value=None, visible=False)}

    def connect(self) -> None:
        shared, bench = self.shared, self.shared.bench
        answers = [self.difference, self.changes]

        async def follow(ask: Callable[[], Job], http: gr.Request) -> Values:
            try:
                async for answer in shared.follow("compare", ask, http):
                    if isinstance(answer, str):
                        yield self.no_result(answer)
                    else:
                        rows = view.change_table(answer)
                        table_update = gr.Dataframe(value=rows, visible=len(rows) > 0)
                        yield {self.difference: view.changes(answer), self.changes: table_update}
            except WorkbenchError as error:
                yield self.no_result(failed(error, "not compared", labels=LABELS))

        async def compare(
            old: list[str] | None, new: list[str] | None, rtol: float, atol: float, now: Subject | None, http: gr.Request
        ) -> Values:
            def ask() -> Job:
                if not new or not (old or now):
                    raise InvalidFile(CHOOSE)
                before = uploaded(old) if old else now
                assert before is not None
                return bench.compare(before, uploaded(new), tolerance("rtol", rtol), tolerance("atol", atol))

            async for values in follow(ask, http):
                yield values

        async def two_examples(rtol: float, atol: float, http: gr.Request) -> Values:
            pair = [Subject("", f"{name}.onnx", out=bench.folders.new()) for name in ("digits", "digits-retrained")]
            try:
                for one in pair:
                    one.model = str(Path(one.out) / "model.onnx")
                    async for _ in shared.follow(
                        "compare", lambda one=one: bench.example(Path(one.name).stem, one.out), http
                    ):
                        pass
                numbers = tolerance("rtol", rtol), tolerance("atol", atol)
                async for values in follow(lambda: bench.compare(*pair, *numbers), http):
                    yield values
            except WorkbenchError as error:
                yield self.no_result(failed(error, "not compared"))
            finally:
                for one in pair:
                    one.close()

        self.components = [self.old, self.new, self.rtol, self.atol, shared.subject]
        self.compare, self.answers = compare, answers
        shared.on([self.start.click], compare, self.components, answers)
        shared.on([self.example.click], two_examples, [self.rtol, self.atol], answers)
