"""What the parts of the page share: whose page it is, what it shows, and a question before something is deleted."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.train.runs import Run
from lib.train.trainer import Trainer
from web.under_way import UnderWay as PageJobs
from web.visit import Visit
from web.visits import knows

from .subject import Subject

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
Updates = dict[Any, Any]


class Shared:
    """``subject`` is a State: what a page shows never comes from the browser."""

    def __init__(self, trainer: Trainer, visit: Visit) -> None:
        self.trainer, self.visit, self.key = trainer, visit, visit.key
        self.subject = gr.State(Subject())
        self.jobs = PageJobs()  # reading a data set, making an ONNX: they end with the page

    def owner(self, key: Any, http: gr.Request | None = None) -> str:
        """The visitor's, or the open page's where the browser keeps nothing."""
        return self.trainer.owner(key if knows(key) else f"session {http.session_hash if http else ''}")

    def keep(self, http: gr.Request, subject: Subject) -> Subject:
        self.visit.keep(http, subject)
        return subject

    def run(self, owner: str, subject: Subject) -> Run | None:
        """The run that is shown; None for none, or one that was deleted."""
        if not subject.run:
            return None
        try:
            return self.trainer.runs(owner).find(subject.run)
        except WorkbenchError:
            return None

    def chosen_run(self, owner: str, subject: Subject) -> Run:
        """As ``run``, for a button that needs one. Raises gr.Error."""
        if (found := self.run(owner, subject)) is None:
            raise gr.Error("This run is no longer there.", print_exception=False)
        return found

    def summary(self, owner: str, data: str) -> dict[str, Any] | None:
        """Of a data set; None for none, or one that is gone."""
        if not data:
            return None
        try:
            return self.trainer.summary(owner, data)
        except WorkbenchError:
            return None


class Question:
    """A row that asks before something is deleted. ``ask`` opens it; ``yes.click`` is the answer."""

    def __init__(self, yes: str, no: str) -> None:
        with gr.Row(visible=False, elem_classes="mw-own") as self.row:
            self.words = gr.HTML(padding=False)
            self.yes = gr.Button(yes, variant="stop", size="sm", min_width=120, scale=0)
            self.no = gr.Button(no, size="sm", min_width=90, scale=0)
        self.no.click(lambda: gr.Row(visible=False), None, self.row, queue=False, **QUIET)

    def ask(self, words: str) -> Updates:
        """``words`` is HTML of ours."""
        return {self.row: gr.Row(visible=True), self.words: f'<div role="alert">{words}</div>'}

    def closed(self) -> Updates:
        return {self.row: gr.Row(visible=False)}
