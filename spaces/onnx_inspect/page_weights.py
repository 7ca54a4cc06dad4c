"""The weights part of the page: a table of the weights and the values of one of them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from web.cards import failed
from web.html import Html

from . import view
from .page_shared import QUIET, Shared, Updates, Values, report_of, table
from .subject import Subject


class Weights:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Row():
            self.name = gr.Textbox(
                label="Tensor",
                info="select a row below, or type an initializer's name and press Enter",
                elem_id="onnx-tensor",
            )
            self.show_button = gr.Button("Show values", size="sm", scale=0, min_width=120)
        self.tensor = Html(padding=False)
        self.histogram = gr.BarPlot(x="value", y="count", title="Values", height=240, visible=False)
        self.weights = table(
            view.WEIGHT_COLUMNS, ["str", "str", "str", "number", "number", "number", "str"], "Largest first"
        )
        self.outputs = [self.name, self.tensor, self.histogram, self.weights]

    def show(self, report: dict[str, Any]) -> Updates:
        return {
            self.weights: view.weight_table(report),
            self.name: "",
            self.tensor: "",
            self.histogram: gr.BarPlot(visible=False),
        }

    def connect(self) -> None:
        shared = self.shared

        async def show_weight(name: str, now: Subject | None, http: gr.Request) -> Values:
            if now is None or not (name or "").strip():
                raise gr.Error("Open a model, then name one of its tensors.", print_exception=False)
            try:
                async for answer in shared.follow("look", lambda: shared.bench.weights(now, name.strip()), http):
                    if isinstance(answer, str):
                        yield {self.tensor: answer, self.histogram: gr.BarPlot(visible=False)}
                    else:
                        histogram, report = view.histogram(answer), await report_of(now)
                        users = next((i["used_by"] for i in report["initializers"] if i["name"] == answer["name"]), [])
                        yield {
                            self.tensor: view.tensor(answer, users),
                            self.histogram: gr.BarPlot(histogram, visible=histogram is not None),
                        }
            except WorkbenchError as error:
                yield {self.tensor: failed(error, "no result"), self.histogram: gr.BarPlot(visible=False)}

        self.show_values = show_weight
        inputs, outputs = [self.name, shared.subject], [self.tensor, self.histogram]

        def choose(event: gr.SelectData) -> str:
            return str(event.row_value[0])

        selected = self.weights.select(choose, None, self.name, **QUIET)
        selected.then(show_weight, inputs, outputs, **QUIET)
        shared.on([self.name.submit, self.show_button.click], show_weight, inputs, outputs)
