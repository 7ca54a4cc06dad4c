"""The result of the shown run: matrix, pictures of a cell, downloads, ONNX and the way into other tabs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.jobs import Result as Ended
from lib.train.runs import EVALUATION, Run
from lib.train.training import BEST
from web.cards import failed, idle, progress
from web.handover import Offer

from . import files, view, view_result
from .page_shared import QUIET, Shared, Updates
from .page_stage import stamp
from .subject import Subject

PLACES = {"inspect": "Open in Inspect ONNX", "convert": "Open in Convert"}


class Result:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.shown = gr.State("")  # the id of the run
        self.card = gr.HTML(idle(view_result.NOTHING), padding=False, elem_id="train-result")
        with gr.Row(visible=False, elem_classes="mw-own") as self.row:
            self.export = gr.Button("Make ONNX", size="sm", min_width=130, scale=0)
            options: dict[str, Any] = {"size": "sm", "visible": False, "min_width": 170, "scale": 0}
            self.open = {place: gr.Button(words, **options) for place, words in PLACES.items()}
        self.said = gr.HTML(padding=False, elem_id="train-export")
        self.matrix = gr.HTML(padding=False, elem_id="train-matrix", js_on_load=view.PICK)
        self.cell = gr.HTML(padding=False, elem_id="train-cell")
        self.rest = gr.HTML(padding=False, elem_id="train-mistakes")
        self.outputs = [self.shown, self.card, self.row, self.export, *self.open.values(), self.said]
        self.outputs += [self.matrix, self.cell, self.rest]
        gives = {"convert": self._onnx_and_samples}
        self.offers = [
            Offer("onnx", button, self.shown, gives.get(place, self._onnx), place) for place, button in self.open.items()
        ]

    def sign(self, run: Run | None) -> str:
        """Changes whenever ``show`` would."""
        if run is None:
            return ""
        onnx = files.onnx_of(run) is not None
        return f"{run.id} {stamp(run, EVALUATION)} {bool(stamp(run, BEST))} {onnx} {run.read()['status']}"

    def show(self, run: Run | None) -> Updates:
        weights = run is not None and bool(stamp(run, BEST))
        evaluation = run.evaluation() if run is not None and weights else {}
        if run is None or not evaluation:
            empty = {self.said: "", self.matrix: "", self.cell: "", self.rest: "", self.row: gr.Row(visible=False)}
            return empty | {self.shown: run.id if run else "", self.card: idle(view_result.NOTHING)}
        record, onnx = run.read(), files.onnx_of(run) is not None
        links = view_result.links(files.address(run.id), weights, onnx)
        opened = {o.button: gr.Button(visible=onnx and o.taken) for o in self.offers}
        part, card = view_result.part_of(record, evaluation), view_result.card
        return opened | {
            self.shown: run.id,
            self.card: card(view_result.summary(record), f'<div class="mw-links">{links}</div>'),
            self.matrix: card(view_result.confusion(evaluation, part)),
            self.cell: "",
            self.rest: card(view_result.worst(evaluation, part), view_result.record_of(record)),
            self.row: gr.Row(visible=weights),
            self.export: gr.Button(visible=not onnx),
            self.said: "",
        }

    def connect(self, refresh: Callable[..., Updates], everything: list[Any]) -> None:
        shared = self.shared

        def pictures(opened: Subject, key: str, event: gr.EventData, http: gr.Request) -> Any:
            """Of the cell whose button was pressed: ``cell:<true>:<predicted>``."""
            run = shared.chosen_run(shared.owner(key, http), shared.desk(http, opened).subject)
            try:
                kind, i, j = str(event.pick).split(":")
                assert kind == "cell"
                evaluation = run.evaluation()
                found = view_result.cell(evaluation, view_result.part_of(run.read(), evaluation), int(i), int(j))
            except (AttributeError, AssertionError, ValueError, IndexError):
                return gr.skip()
            return f'<div class="mw-card mw-train" tabindex="-1">{found}</div>'

        async def make(opened: Subject, key: str, http: gr.Request) -> AsyncIterator[Updates]:
            owner, desk = shared.owner(key, http), shared.desk(http, opened)
            run = shared.chosen_run(owner, desk.subject)
            try:
                async for event in shared.jobs.follow("onnx", lambda: shared.trainer.export(run, run.folder), http):
                    if not isinstance(event, Ended):
                        yield {self.said: progress(event.stage, event.share), self.export: gr.Button(interactive=False)}
                yield {self.export: gr.Button(interactive=True)} | await asyncio.to_thread(refresh, owner, desk, http)
            except WorkbenchError as error:
                yield {self.said: failed(error, "no ONNX"), self.export: gr.Button(interactive=True)}

        look = "() => document.querySelector('#train-cell .mw-card')?.scrollIntoView({ block: 'nearest' })"
        given = [shared.subject, shared.key]
        self.matrix.click(pictures, given, self.cell, **QUIET).then(None, None, None, js=look, queue=False, **QUIET)
        self.export.click(make, given, everything, **QUIET)

    def _onnx(self, run: str) -> list[str]:
        try:
            path = files.onnx_of(self.shared.trainer.find(run))
        except WorkbenchError:
            path = None
        if path is None:
            raise gr.Error("There is no ONNX of this run any more. Please make it again.", print_exception=False)
        return [str(path)]

    def _onnx_and_samples(self, id: str) -> list[str]:
        """Also the run's validation and test pictures, which judge what is made of the model; without them where they
        cannot be had any more."""
        found = self._onnx(id)
        try:
            return [*found, *files.samples_of(self.shared.trainer, self.shared.trainer.find(id))]
        except WorkbenchError as error:
            gr.Warning(f"The model goes without samples. {error.message}")
            return found
