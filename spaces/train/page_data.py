"""The data part of the page: an example, a .zip or a Hub data set, and the card that summarises it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.jobs import Job, Result
from lib.train.data_summary import DataSummary
from web.cards import failed, progress
from web.html import Html, html

from . import view_data
from .page_shared import QUIET, Question, Shared, Updates
from .subject import Subject

EXAMPLES = {"objects": "Objects: 12 drawn classes", "digits": "Digits: real scans"}
EXPECTED = "A .zip: one folder per class"
Values = AsyncIterator[Updates]


class Data:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        settings = shared.trainer.settings
        with gr.Row():
            with gr.Column(min_width=130, scale=4):
                self.examples = {name: gr.Button(words, size="sm") for name, words in EXAMPLES.items()}
            with gr.Column(min_width=190, scale=5):
                self.drop = gr.File(label=EXPECTED, file_types=[".zip"], type="filepath", height=112, elem_id="train-drop")
        self.hub = gr.Dropdown(
            [(name, f"hub:{name}") for name in settings.train_hub],
            value=None,
            label="Or a data set from the Hub",
            visible=bool(settings.train_hub),
        )
        self.card = Html(padding=False, elem_id="train-data")
        self.forget = gr.Button("Delete these pictures", size="sm", visible=False)
        self.question = Question("Delete", "Cancel")
        self.outputs = [self.card, self.drop, self.hub, self.forget, self.question.row, self.question.words]

    def show(self, summary: DataSummary | None, id: str) -> Updates:
        deletable = bool(summary) and id not in EXAMPLES and not id.startswith("hub:")
        card = view_data.card(summary) if summary else ""
        return {self.card: card, self.forget: gr.Button(visible=deletable)} | self.question.closed()

    def connect(self) -> list[Any]:
        """Connect the handlers. Returns the events that may change the data set."""
        shared = self.shared
        outputs = self.outputs

        async def choose(ask: Callable[[str], tuple[str, Job]], opened: Subject, key: str, http: gr.Request) -> Values:
            owner, state = shared.owner(key, http), shared.state(http, opened)
            shared.trainer.warm()  # a training is likely to follow
            try:
                id, job = await asyncio.to_thread(ask, owner)
                async for event in shared.jobs.follow("data", lambda: job, http):
                    if not isinstance(event, Result):
                        yield {self.card: progress(event.stage, event.share)}
                        continue
                    summary = await asyncio.to_thread(shared.trainer.data.remember, owner, id, event.value)
                    shared.select(http, state, data=id)
                    yield self.show(summary, id)
            except WorkbenchError as error:
                summary_before = await asyncio.to_thread(shared.summary, owner, state.subject.data)
                card_before = view_data.card(summary_before) if summary_before else ""
                yield {self.card: failed(error, "not read") + card_before}

        async def example(name: str, opened: Subject, key: str, http: gr.Request) -> Values:
            async for values in choose(lambda owner: shared.trainer.data.make(name), opened, key, http):
                yield values | {self.drop: None, self.hub: None}

        async def dropped(path: str | None, opened: Subject, key: str, http: gr.Request) -> Values:
            if path:
                name = Path(path).stem
                async for values in choose(
                    lambda owner: shared.trainer.data.upload(owner, Path(path), name), opened, key, http
                ):
                    yield values | {self.hub: None}

        async def from_hub(name: str | None, opened: Subject, key: str, http: gr.Request) -> Values:
            if name:
                async for values in choose(lambda owner: shared.trainer.data.make(name), opened, key, http):
                    yield values | {self.drop: None}

        def delete(opened: Subject, key: str, http: gr.Request) -> Updates:
            state = shared.state(http, opened)
            try:
                shared.trainer.data.delete(shared.owner(key, http), state.subject.data)
            except WorkbenchError as error:
                raise gr.Error(error.message, print_exception=False) from None
            shared.select(http, state, data="")
            return self.show(None, "") | {self.drop: None}

        def ask_first(opened: Subject, key: str, http: gr.Request) -> Updates:
            summary = shared.summary(shared.owner(key, http), shared.state(http, opened).subject.data) or DataSummary()
            name = html("Delete <b>{}</b>", summary.name or "these pictures")
            return self.question.ask(name + f" ({summary.count:,} pictures) from this server? Runs are kept.")

        inputs = [shared.subject, shared.key]
        self.forget.click(ask_first, inputs, [self.question.row, self.question.words], **QUIET)
        examples = [
            button.click(example, [gr.State(name), *inputs], outputs, **QUIET) for name, button in self.examples.items()
        ]
        return [
            *examples,
            self.drop.upload(dropped, [self.drop, *inputs], outputs, **QUIET),
            self.hub.input(from_hub, [self.hub, *inputs], outputs, **QUIET),
            self.question.yes.click(delete, inputs, outputs, **QUIET),
        ]
