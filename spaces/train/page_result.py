"""The result part of the page: confusion matrix, pictures of a cell, and downloads of the record and the weights."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib.train.runs import EVALUATION, Run
from lib.train.training import BEST
from web.cards import idle
from web.html import Html, html

from . import files, view, view_result
from .page_shared import QUIET, Shared, Updates
from .page_stage import stamp
from .subject import Subject


class Result:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.card = Html(idle(view_result.NOTHING), padding=False, elem_id="train-result")
        self.matrix = Html(padding=False, elem_id="train-matrix", js_on_load=view.PICK)
        self.cell = Html(padding=False, elem_id="train-cell")
        self.rest = Html(padding=False, elem_id="train-mistakes")
        self.outputs = [self.card, self.matrix, self.cell, self.rest]

    def sign(self, run: Run | None) -> str:
        """Return a string that changes whenever the output of ``show`` does."""
        if run is None:
            return ""
        return f"{run.id} {stamp(run, EVALUATION)} {bool(stamp(run, BEST))} {run.record().status}"

    def show(self, run: Run | None) -> Updates:
        weights = run is not None and bool(stamp(run, BEST))
        evaluation = run.evaluation() if run is not None and weights else None
        if run is None or evaluation is None:
            empty = {self.matrix: "", self.cell: "", self.rest: ""}
            return empty | {self.card: idle(view_result.NOTHING)}
        record = run.record()
        links = view_result.links(files.address(run.id), weights)
        part, card = view_result.part_of(record, evaluation), view_result.card
        return {
            self.card: card(view_result.summary(record), links),
            self.matrix: card(view_result.confusion(evaluation, part)),
            self.cell: "",
            self.rest: card(view_result.worst(evaluation, part), view_result.record_of(record)),
        }

    def connect(self) -> None:
        shared = self.shared

        def pictures(opened: Subject, key: str, event: gr.EventData, http: gr.Request) -> Any:
            """Show the pictures of the pressed cell, ``cell:<true>:<predicted>``."""
            run = shared.chosen_run(shared.owner(key, http), shared.state(http, opened).subject)
            try:
                kind, i, j = str(event.pick).split(":")
                assert kind == "cell"
                evaluation = run.evaluation()
                assert evaluation is not None
                content = view_result.cell(evaluation, view_result.part_of(run.record(), evaluation), int(i), int(j))
            except (AttributeError, AssertionError, ValueError, IndexError):
                return gr.skip()
            return html('<div class="mw-card mw-train" tabindex="-1">{}</div>', content)

        scroll = "() => document.querySelector('#train-cell .mw-card')?.scrollIntoView({ block: 'nearest' })"
        inputs = [shared.subject, shared.key]
        self.matrix.click(pictures, inputs, self.cell, **QUIET).then(None, None, None, js=scroll, queue=False, **QUIET)
