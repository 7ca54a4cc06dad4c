"""The card at the top with what the shown run does, and the buttons for it: reproduce, resume, delete."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from lib.train.running_training import RunningTraining
from lib.train.runs import DONE, EVALUATION, FAILED, INTERRUPTED, METRICS, RECORD, STOPPED, Run
from lib.train.training import BEST
from web.cards import idle
from web.html import Html

from . import view, view_stage
from .page_shared import Question, Shared, Updates


class Stage:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.card = Html(idle(view.IDLE), padding=False, elem_id="train-stage", js_on_load=view.PICK)
        with gr.Row(visible=False, elem_id="train-actions", elem_classes="mw-own") as self.actions:
            self.again = gr.Button("Reproduce", size="sm", min_width=90, scale=0)
            self.go_on = gr.Button("Resume", size="sm", min_width=90, scale=0, variant="primary")
            self.delete = gr.Button("Delete", size="sm", min_width=90, scale=0)
        self.question = Question("Delete", "Cancel")
        self.outputs = [self.card, self.actions, self.again, self.go_on, self.delete]
        self.outputs += [self.question.row, self.question.words]

    def sign(self, run: Run | None, ways: Sequence[RunningTraining]) -> str:
        """Changes whenever ``show`` would."""
        others = [one.run.id for one in ways]
        if run is None:
            return f"none {others}"
        live = self._live(run)
        if live is not None:
            place, wait = self.shared.trainer.queue_position(live)
            told = f"{live.progress.stage} {live.progress.share} {stamp(run, METRICS)}"
            return f"{run.id} {others} {place} {view.seconds(wait)} {told}"
        stamps = f"{stamp(run, RECORD)} {stamp(run, EVALUATION)}"
        return f"{run.id} {others} ended {stamps} {self.pending(run)} {run.record().status}"

    def show(self, run: Run | None, ways: Sequence[RunningTraining]) -> Updates:
        others = view_stage.others(
            [(one.run.id, one.run.record().name) for one in ways if run is None or one.run.id != run.id]
        )
        if run is None:
            return {self.card: idle(view.IDLE + others), self.actions: gr.Row(visible=False)} | self.question.closed()
        record, metrics, live = run.record(), run.metrics(), self._live(run)
        if live is not None:
            place, wait = self.shared.trainer.queue_position(live)
            if place:
                card = view_stage.waiting(record, place, wait, others)
            else:
                card = view_stage.running(record, metrics, live.progress.stage, live.progress.share, others)
            return {self.card: card, self.actions: gr.Row(visible=False)} | self.question.closed()
        status = record.status
        return {
            self.card: view_stage.ended(record, metrics, evaluated(run), self.pending(run), others),
            self.actions: gr.Row(visible=True),
            self.again: gr.Button(visible=status == DONE),
            self.go_on: gr.Button(visible=status in (STOPPED, INTERRUPTED, FAILED)),
        } | self.question.closed()

    def pending(self, run: Run) -> bool:
        """Whether a stopped run is being evaluated in the background."""
        return self._live(run) is None and self.shared.trainer.evaluating(run)

    def _live(self, run: Run) -> RunningTraining | None:
        found = self.shared.trainer.under_way(run.id)
        return None if found is None or found.done.is_set() else found


def evaluated(run: Run) -> bool:
    """Whether every picture was evaluated with the weights that the run has now."""
    return bool(stamp(run, BEST)) and stamp(run, EVALUATION) >= stamp(run, BEST)


def stamp(run: Run, name: str) -> int:
    """When a file of the run was written, in ns; 0 where there is none."""
    try:
        return (run.folder / name).stat().st_mtime_ns
    except OSError:
        return 0
