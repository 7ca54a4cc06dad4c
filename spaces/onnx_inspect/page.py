"""The tab's page: lays out its parts and connects them. Independent of the model formats."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from web.cards import idle
from web.handover import Offer, Opener
from web.html import Html
from web.temporary_files import TemporaryFiles
from web.visit import Arrival, Visit

from . import view
from .bench import Bench
from .formats import TFLITE
from .page_build import Build
from .page_compare import Compare
from .page_cost import Cost
from .page_graph import Graph
from .page_metadata import MetadataForm
from .page_open import Opening
from .page_run import Run
from .page_shared import QUIET, Shared, Updates, Values, report_of
from .page_tensors import Tensors
from .page_weights import Weights
from .subject import Subject


def build(bench: Bench, shelf: TemporaryFiles, visit: Visit) -> tuple[Opener, Offer]:
    """Build the page. Returns the opener for files from other tabs and the offer of the open model to the Convert tab."""
    shared = Shared(bench, shelf, visit)
    opening = Opening(shared)
    with gr.Tabs(elem_classes="mw-inner", overflow_behavior="wrap", elem_id="onnx-tabs") as tabs:
        with gr.Tab("Graph", id="graph"):
            graph = Graph(shared)
        with gr.Tab("Nodes and cost", id="cost"):
            cost = Cost(shared)
        with gr.Tab("Weights", id="weights"):
            weights = Weights(shared)
        with gr.Tab("Tensors", id="tensors", visible=False) as tensors_tab:
            tensors = Tensors()
        with gr.Tab("Metadata", id="metadata", visible=False) as metadata_tab:
            metadata = MetadataForm(shared)
        with gr.Tab("Problems", id="problems"):
            problems = Html(idle("Nothing is open."), padding=False, elem_id="onnx-problems")
        with gr.Tab("Run", id="run"):
            run = Run(shared)
        with gr.Tab("Compare", id="compare"):
            compare = Compare(shared)
        with gr.Tab("Build", id="build"):
            text = Build(shared)
    parts = (opening, graph, cost, weights, tensors, metadata, run, compare, text)
    everything = [shared.subject, problems, tensors_tab, metadata_tab, *(one for part in parts for one in part.outputs)]

    def count(now: Subject, report: dict[str, Any]) -> Updates:
        """Return the updates that depend on the sizes of dynamic dimensions."""
        return opening.count(now, report) | cost.show(report)

    def show(now: Subject, report: dict[str, Any]) -> Updates:
        """Return the updates of the whole page for ``now``. They clear the results of the previous model."""
        result: Updates = opening.show(now, report) | cost.show(report) | graph.show(now, report) | weights.show(report)
        result |= tensors.show(report) | metadata.show(report) | run.show() | compare.show(now) | text.show()
        result |= {one: gr.Tab(visible=report["format"] == TFLITE) for one in (tensors_tab, metadata_tab)}
        if report.get("run"):
            result |= run.result(now, report["run"])
        return result | {shared.subject: now, problems: view.problems(report, opening.offer.taken), cost.sizes: ""}

    async def back(page: Arrival) -> Updates:
        """Restore the open model from its latest report. The browser's saved form restores the input fields."""
        if page.value is None:
            return {}
        now: Subject = page.value
        try:
            result = await asyncio.to_thread(show, now, await report_of(now))
        except WorkbenchError:
            return {}
        return {k: v for k, v in result.items() if k not in typed_in.values()} | {
            opening.files: now.uploaded_paths() or None
        }

    typed_in = {
        "sizes": cost.sizes, "run_sizes": run.sizes, "seed": run.seed, "runs": run.runs, "values": run.typed,
        "preprocessing": run.preprocessing, "example": text.examples, "text": text.text, "rtol": compare.rtol,
        "atol": compare.atol,
    }  # fmt: skip
    visit.form(**typed_in)
    visit.restore(back, everything)

    async def follow(*given: Any) -> Any:
        async for values in opening.follow(show, *given):
            yield values

    opening.connect(show, everything)
    graph.connect()
    cost.connect(count, [*opening.counted, *cost.outputs])
    weights.connect()
    run.connect(opening.reports)
    compare.connect()
    text.connect(follow, opening.summary, everything)
    metadata.connect(follow, opening.summary, opening.files, everything)

    def two(pair: list[list[str]] | None) -> Updates:
        return {compare.old: pair[0], compare.new: pair[1], tabs: gr.Tabs(selected="compare")} if pair else {tabs: gr.skip()}

    async def to_weight(now: Subject | None, http: gr.Request, event: gr.EventData) -> Values:
        """Show the values of a weight whose link was clicked, anywhere in the tab."""
        name = str((getattr(event, "pick", None) or {}).get("weight", ""))
        if not name or now is None:
            yield {tabs: gr.skip()}
            return
        yield {tabs: gr.Tabs(selected="weights"), weights.name: name}
        async for values in weights.show_values(name, now, http):
            yield values

    shown = [tabs, weights.name, weights.tensor, weights.histogram]
    graph.node.click(to_weight, shared.subject, shown, **QUIET)
    chosen = opening.compare.click(two, opening.pair, [compare.old, compare.new, tabs], **QUIET)
    chosen.success(compare.compare, compare.components, compare.answers, **QUIET)
    shared.stop.click(shared.under_way.stop, None, None, api_visibility="private", queue=False)
    opener = Opener(
        "onnx", lambda after, paths: shared.on([after], opening.open_handed, [paths, shared.subject], everything)
    )
    return opener, opening.offer
