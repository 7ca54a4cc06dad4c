"""State that the parts of the page share (owner, shown data and run), and the confirmation before a deletion."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.train.data_summary import DataSummary
from lib.train.runs import Run
from lib.train.trainer import Trainer
from web.html import Html, html
from web.page_jobs import PageJobs
from web.visit import Visit
from web.visits import is_key

from .subject import Subject

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
Updates = dict[Any, Any]


MAX_PAGES = 2000  # page states kept, the most recently used


@dataclass(slots=True, eq=False)
class PageState:
    """What one open page shows: its subject, and the signatures of its parts (``seen``).

    Not a gr.State: a handler reads that when it starts and writes it when it ends, so the timer and a button that run
    at once would overwrite each other. Hold ``lock`` to read or change it.
    """

    subject: Subject
    seen: Any = None
    lock: Any = field(default_factory=threading.RLock)


class Shared:
    """``subject`` is what a page showed when it was opened. From the first event on, its ``state`` is authoritative."""

    def __init__(self, trainer: Trainer, visit: Visit) -> None:
        self.trainer, self.visit, self.key = trainer, visit, visit.key
        self.subject = gr.State(Subject())
        self._states: OrderedDict[str, PageState] = OrderedDict()  # by session
        self._lock = threading.Lock()
        self.jobs = PageJobs()  # jobs that end with the page: reading a data set, exporting ONNX

    def owner(self, key: Any, http: gr.Request | None = None) -> str:
        """Return the visitor's owner id, or the session's if the browser has no storage."""
        session = (http.session_hash if http else "") or secrets.token_hex(16)  # never a shared owner
        return self.trainer.visitors.owner(key if is_key(key) else f"session {session}")

    def state(self, http: gr.Request, opened: Subject) -> PageState:
        with self._lock:
            session = http.session_hash or ""
            state = self._states[session] = self._states.pop(session, None) or PageState(opened)
            if state.subject == Subject():  # the timer may fire before the visitor's subject is restored
                state.subject = opened
            while len(self._states) > MAX_PAGES:
                self._states.popitem(last=False)
            return state

    def select(self, http: gr.Request, state: PageState, **changes: str) -> None:
        """Change the ``data`` or ``run`` that the page shows."""
        with state.lock:
            state.subject = replace(state.subject, **changes)
            self.visit.keep(http, state.subject)

    def run(self, owner: str, subject: Subject) -> Run | None:
        """Return the shown run, or None if there is none or it was deleted."""
        if not subject.run:
            return None
        try:
            return self.trainer.runs(owner).find(subject.run)
        except WorkbenchError:
            return None

    def chosen_run(self, owner: str, subject: Subject) -> Run:
        """Return the shown run for a button that needs one. Raises gr.Error if there is none."""
        if (shown := self.run(owner, subject)) is None:
            raise gr.Error("This run is no longer available.", print_exception=False)
        return shown

    def summary(self, owner: str, data: str) -> DataSummary | None:
        """Return the summary of a data set, or None if there is none or it was deleted."""
        if not data:
            return None
        try:
            return self.trainer.data.summary(owner, data)
        except WorkbenchError:
            return None


class Question:
    """A row that asks for confirmation before a deletion. ``ask`` opens it; ``yes.click`` confirms."""

    def __init__(self, yes: str, no: str) -> None:
        with gr.Row(visible=False, elem_classes="mw-own") as self.row:
            self.words = Html(padding=False)
            self.yes = gr.Button(yes, variant="stop", size="sm", min_width=120, scale=0)
            self.no = gr.Button(no, size="sm", min_width=90, scale=0)
        self.no.click(lambda: gr.Row(visible=False), None, self.row, queue=False, **QUIET)

    def ask(self, words: str) -> Updates:
        """Open the row. ``words`` must be trusted HTML."""
        return {self.row: gr.Row(visible=True), self.words: html('<div role="alert">{}</div>', words)}

    def closed(self) -> Updates:
        return {self.row: gr.Row(visible=False)}
