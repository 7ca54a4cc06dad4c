"""The graph in Netron, and a card of the node that is clicked there or linked from another part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from lib.errors import WorkbenchError
from web import netron
from web.cards import failed, idle
from web.folders import plain
from web.html import Html, html

from . import view_links
from .formats import TFLITE
from .page_shared import QUIET, Shared, Updates, report_of
from .subject import Subject

COLLAPSED, WHOLE = "Collapsed", "Every node (slow)"


class Graph:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.level = gr.Radio([COLLAPSED, WHOLE], value=COLLAPSED, label="This graph is big", visible=False)
        self.graph = Html(idle("The graph of the model that you open appears here."), padding=False, elem_id="onnx-graph")
        self.node = Html(padding=False, elem_id="onnx-node", js_on_load=view_links.FROM_GRAPH)
        self.outputs = [self.level, self.graph, self.node]

    def show(self, now: Subject, report: dict[str, Any]) -> Updates:
        collapsed, node_count = plain(now.out, "collapsed.onnx"), sum(report["operators"].values())
        return {
            self.graph: self._frame(now, COLLAPSED if collapsed else WHOLE),
            self.level: gr.Radio(value=COLLAPSED, visible=bool(collapsed), label=f"{node_count:,} nodes are slow to draw"),
            self.node: "",
        }

    def _frame(self, now: Subject, which: str) -> Markup:
        names = ["graph.tflite"] if now.format == TFLITE else ["collapsed.onnx"] * (which == COLLAPSED) + ["graph.onnx"]
        file = next((p for p in (Path(now.out) / n for n in names) if p.is_file()), Path(now.out) / names[-1])
        address = netron.address(self.shared.shelf.put(file, file.suffix), _shown(now))
        return html(
            '<iframe class="{frame}" title="Graph of {name}" src="{address}" '
            'style="width:100%;height:640px;border:0;border-radius:12px" allow="fullscreen"></iframe>'
            '<p class="mw-graph-line">Click a node for its cost and weights. Ctrl+F searches. '
            '<button type="button" class="mw-link" data-onnx-full="1">Full screen</button> '
            '<a href="{address}" target="_blank" rel="noopener">Own window</a></p>',
            frame=netron.FRAME,
            name=now.name,
            address=address,
        )

    def connect(self) -> None:
        def redraw(which: str, now: Subject | None) -> Any:
            return self._frame(now, which) if now else gr.skip()

        async def clicked(now: Subject | None, event: gr.EventData) -> Any:
            pick = getattr(event, "pick", None) or {}
            if now is None or "weight" in pick:
                return gr.skip()
            try:
                report = await report_of(now)
            except WorkbenchError as error:
                return failed(error, "no node")
            return view_links.node(report, str(pick.get("name", "")), str(pick.get("output", "")))

        self.level.input(redraw, [self.level, self.shared.subject], self.graph, trigger_mode="always_last", **QUIET)
        self.node.click(clicked, self.shared.subject, self.node, **QUIET)


def _shown(now: Subject) -> str:
    """Return the name for Netron, which detects the format by the suffix."""
    return f"{now.name}.tflite" if now.format == TFLITE and not now.name.lower().endswith(".tflite") else now.name
