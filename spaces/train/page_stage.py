"""The card at the top with the status of the shown run, and its buttons: reproduce, resume, delete."""

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
        """Return a string that changes whenever the output of ``show`` does."""
        others = [one.run.id for one in ways]
        if run is None:
            return f"none {others}"
        training = self._live(run)
        if training is not None:
            position, wait = self.shared.trainer.queue_position(training)
            status = f"{training.progress.stage} {training.progress.share} {stamp(run, METRICS)}"
            return f"{run.id} {others} {position} {view.seconds(wait)} {status}"
        stamps = f"{stamp(run, RECORD)} {stamp(run, EVALUATION)}"
        return f"{run.id} {others} ended {stamps} {self.pending(run)} {run.record().status}"

    def show(self, run: Run | None, ways: Sequence[RunningTraining]) -> Updates:
        others = view_stage.others(
            [(one.run.id, one.run.record().name) for one in ways if run is None or one.run.id != run.id]
        )
        if run is None:
            return {self.card: idle(view.IDLE + others), self.actions: gr.Row(visible=False)} | self.question.closed()
        record, metrics, training = run.record(), run.metrics(), self._live(run)
        if training is not None:
            position, wait = self.shared.trainer.queue_position(training)
            if position:
                card = view_stage.waiting(record, position, wait, others)
            else:
                card = view_stage.running(record, metrics, training.progress.stage, training.progress.share, others)
            return {self.card: card, self.actions: gr.Row(visible=False)} | self.question.closed()
        status = record.status
        return {
            self.card: view_stage.ended(record, metrics, evaluated(run), self.pending(run), others),
            self.actions: gr.Row(visible=True),
            self.again: gr.Button(visible=status == DONE),
            self.go_on: gr.Button(visible=status in (STOPPED, INTERRUPTED, FAILED)),
        } | self.question.closed()

    def pending(self, run: Run) -> bool:
        """Return whether a stopped run is being evaluated in the background."""
        return self._live(run) is None and self.shared.trainer.evaluating(run)

    def _live(self, run: Run) -> RunningTraining | None:
        training = self.shared.trainer.under_way(run.id)
        return None if training is None or training.done.is_set() else training


def evaluated(run: Run) -> bool:
    """Return whether all pictures were evaluated with the run's current weights."""
    return bool(stamp(run, BEST)) and stamp(run, EVALUATION) >= stamp(run, BEST)


def stamp(run: Run, name: str) -> int:
    """Return the modification time of a run's file in ns, or 0 if there is none."""
    try:
        return (run.folder / name).stat().st_mtime_ns
    except OSError:
        return 0
