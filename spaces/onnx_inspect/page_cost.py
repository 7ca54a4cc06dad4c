"""The cost part of the page: MACs and memory of the nodes, at adjustable sizes of the dynamic dimensions."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from web.cards import failed
from web.html import Html

from . import view, view_links
from .page_shared import QUIET, Shared, Updates, Values, report_of, require_open, table
from .subject import Subject, parse_sizes


class Cost:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.cost = Html(padding=False, elem_id="onnx-cost")
        with gr.Row():
            self.sizes = gr.Textbox(
                label="Sizes of dynamic dimensions",
                placeholder="batch=8, sequence=128",
                info="those that you leave out get plausible sizes",
                elem_id="onnx-sizes",
            )
            self.recount = gr.Button("Recount", scale=0, min_width=120)
        with gr.Row():
            self.operators = gr.BarPlot(
                x="where",
                y="MACs",
                title="MACs by operator",
                sort="-y",
                height=260,
                min_width=280,
                x_title=" ",
                x_label_angle=-30,
            )
            self.memory = gr.LinePlot(x="node", y="MB in use", title="Activation memory per step", height=260, min_width=280)
        self.node = Html(padding=False)
        self.nodes = table(view.NODE_COLUMNS, ["number", "str", "str", "str", *["number"] * 5], "Nodes, costliest first")
        self.outputs = [self.cost, self.operators, self.memory, self.node, self.nodes, self.sizes]

    def show(self, report: dict[str, Any]) -> Updates:
        plot, title = view.operator_plot(report)
        return {
            self.cost: view.cost(report),
            self.operators: gr.BarPlot(plot, title=title, y_lim=[0, max(plot["MACs"].max(), 1)] if len(plot) else None),
            self.memory: view.memory_plot(report),
            self.nodes: view.node_table(report),
            self.node: "",
        }

    def connect(self, count: Any, counted: list[Any]) -> None:
        """Connect the handlers. ``count`` returns all updates that depend on the sizes; ``counted`` are its outputs."""
        shared = self.shared

        async def again(words: str, now: Subject | None, http: gr.Request) -> Values:
            model = require_open(now)
            try:
                async for answer in shared.follow("count", lambda: shared.bench.inspect(model, parse_sizes(words)), http):
                    yield {self.cost: answer} if isinstance(answer, str) else await asyncio.to_thread(count, model, answer)
            except WorkbenchError as error:
                yield {self.cost: failed(error, "not counted")}

        async def show_node(now: Subject | None, event: gr.SelectData) -> str:
            return view_links.node(await report_of(require_open(now)), str(event.row_value[1]))

        shared.on([self.recount.click, self.sizes.submit], again, [self.sizes, shared.subject], counted)
        self.nodes.select(show_node, shared.subject, self.node, **QUIET)
