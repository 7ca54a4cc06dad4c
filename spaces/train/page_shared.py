"""What the parts of the page share: whose page it is, what it shows, and a question before something is deleted."""

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


MAX_PAGES = 2000  # pages, the ones that did something last


@dataclass(slots=True, eq=False)
class PageState:
    """What one open page shows: its subject, and ``seen``, how its parts look.

    Two handlers of a page may run at once, the timer's and a button's. So this is no gr.State, which each would read at
    its start and write at its end: whoever looks or changes holds ``lock``.
    """

    subject: Subject
    seen: Any = None
    lock: Any = field(default_factory=threading.RLock)


class Shared:
    """``subject`` is what a page showed when it was opened; from its first click or look on its ``state`` counts."""

    def __init__(self, trainer: Trainer, visit: Visit) -> None:
        self.trainer, self.visit, self.key = trainer, visit, visit.key
        self.subject = gr.State(Subject())
        self._states: OrderedDict[str, PageState] = OrderedDict()  # by session
        self._lock = threading.Lock()
        self.jobs = PageJobs()  # reading a data set, making an ONNX: they end with the page

    def owner(self, key: Any, http: gr.Request | None = None) -> str:
        """The visitor's, or the open page's where the browser keeps nothing."""
        session = (http.session_hash if http else "") or secrets.token_hex(16)  # nobody shares an owner for want of one
        return self.trainer.visitors.owner(key if is_key(key) else f"session {session}")

    def state(self, http: gr.Request, opened: Subject) -> PageState:
        with self._lock:
            session = http.session_hash or ""
            state = self._states[session] = self._states.pop(session, None) or PageState(opened)
            if state.subject == Subject():  # a timer may ask before the page has what the visitor had
                state.subject = opened
            while len(self._states) > MAX_PAGES:
                self._states.popitem(last=False)
            return state

    def select(self, http: gr.Request, state: PageState, **changes: str) -> None:
        """The page shows another ``data`` or ``run`` from now on."""
        with state.lock:
            state.subject = replace(state.subject, **changes)
            self.visit.keep(http, state.subject)

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
            raise gr.Error("This run is no longer available.", print_exception=False)
        return found

    def summary(self, owner: str, data: str) -> DataSummary | None:
        """Of a data set; None for none, or one that is gone."""
        if not data:
            return None
        try:
            return self.trainer.data.summary(owner, data)
        except WorkbenchError:
            return None


class Question:
    """A row that asks before something is deleted. ``ask`` opens it; ``yes.click`` is the answer."""

    def __init__(self, yes: str, no: str) -> None:
        with gr.Row(visible=False, elem_classes="mw-own") as self.row:
            self.words = Html(padding=False)
            self.yes = gr.Button(yes, variant="stop", size="sm", min_width=120, scale=0)
            self.no = gr.Button(no, size="sm", min_width=90, scale=0)
        self.no.click(lambda: gr.Row(visible=False), None, self.row, queue=False, **QUIET)

    def ask(self, words: str) -> Updates:
        """``words`` is HTML of ours."""
        return {self.row: gr.Row(visible=True), self.words: html('<div role="alert">{}</div>', words)}

    def closed(self) -> Updates:
        return {self.row: gr.Row(visible=False)}
