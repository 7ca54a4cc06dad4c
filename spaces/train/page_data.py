"""The pictures: an example, a zip or a set of the Hub, and the card that shows what is in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.jobs import Job, Result
from web.cards import e, failed, progress

from . import view_data
from .page_shared import QUIET, Question, Shared, Updates
from .subject import Subject

EXAMPLES = {"objects": "Objects: 12 drawn things", "digits": "Digits: real scans"}
EXPECTED = "Or drop a .zip: one folder per class; train/, val/ and test/ are understood"
Values = AsyncIterator[Updates]


class Data:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        settings = shared.trainer.settings
        with gr.Row():
            self.examples = {name: gr.Button(words, size="sm", min_width=130) for name, words in EXAMPLES.items()}
        self.drop = gr.File(label=EXPECTED, file_types=[".zip"], type="filepath", height=118, elem_id="train-drop")
        self.hub = gr.Dropdown(
            [(name, f"hub:{name}") for name in settings.train_hub],
            value=None,
            label="Or a data set of the Hub",
            visible=bool(settings.train_hub),
        )
        self.card = gr.HTML(padding=False, elem_id="train-data")
        who = "Everyone who opens this page sees them" if settings.train_shared else "Only you see them"
        days = f"{settings.train_days} days" if settings.train_days > 1 else "a day"
        gr.HTML(
            f'<p class="mw-quiet">Your pictures and runs stay on this server for {days} after your last visit. {who}. '
            "Delete removes them.</p>",
            padding=False,
        )
        self.forget = gr.Button("Delete these pictures", size="sm", visible=False)
        self.question = Question("Delete", "Keep")
        self.outputs = [self.card, self.drop, self.hub, self.forget, self.question.row, self.question.words]

    def show(self, summary: dict[str, Any] | None, id: str) -> Updates:
        own = bool(summary) and id not in EXAMPLES and not id.startswith("hub:")
        card = view_data.card(summary) if summary else ""
        return {self.card: card, self.forget: gr.Button(visible=own)} | self.question.closed()

    def connect(self, after: Callable[[str, Subject], Updates], more: list[Any]) -> None:
        """``after`` has what else changes with new pictures (``more``), of the owner and the new subject."""
        shared = self.shared
        outputs = [shared.subject, *self.outputs, *more]

        async def choose(ask: Callable[[str], tuple[str, Job]], now: Subject, key: str, http: gr.Request) -> Values:
            owner = shared.owner(key, http)
            shared.trainer.warm()  # whoever chooses pictures trains soon
            try:
                id, job = await asyncio.to_thread(ask, owner)
                async for event in shared.jobs.follow("data", lambda: job, http):
                    if not isinstance(event, Result):
                        yield {self.card: progress(event.stage, event.share)}
                        continue
                    found = {"name": id} | event.value
                    await asyncio.to_thread(shared.trainer.remember, owner, id, found)
                    subject = shared.keep(http, now.with_data(id))
                    yield self.show(found, id) | {shared.subject: subject} | await asyncio.to_thread(after, owner, subject)
            except WorkbenchError as error:
                kept = await asyncio.to_thread(shared.summary, owner, now.data)
                still = view_data.card(kept) if kept else ""
                yield {self.card: failed(error, "not read") + still}

        async def example(name: str, now: Subject, key: str, http: gr.Request) -> Values:
            async for values in choose(lambda owner: shared.trainer.make(name), now, key, http):
                yield values | {self.drop: None, self.hub: None}

        async def dropped(path: str | None, now: Subject, key: str, http: gr.Request) -> Values:
            if path:
                name = Path(path).stem
                async for values in choose(lambda owner: shared.trainer.take(owner, Path(path), name), now, key, http):
                    yield values | {self.hub: None}

        async def from_hub(name: str | None, now: Subject, key: str, http: gr.Request) -> Values:
            if name:
                async for values in choose(lambda owner: shared.trainer.make(name), now, key, http):
                    yield values | {self.drop: None}

        def delete(now: Subject, key: str, http: gr.Request) -> Updates:
            owner = shared.owner(key, http)
            try:
                shared.trainer.forget(owner, now.data)
            except WorkbenchError as error:
                raise gr.Error(error.message, print_exception=False) from None
            subject = shared.keep(http, now.with_data(""))
            return self.show(None, "") | {shared.subject: subject, self.drop: None} | after(owner, subject)

        def ask_first(now: Subject, key: str, http: gr.Request) -> Updates:
            found = shared.summary(shared.owner(key, http), now.data) or {}
            name, count = e(found.get("name", "these pictures")), found.get("count", 0)
            return self.question.ask(f"Delete <b>{name}</b> ({count:,} pictures) from this server? Its runs stay.")

        given = [shared.subject, shared.key]
        for name, button in self.examples.items():
            fixed = gr.State(name)
            button.click(example, [fixed, *given], outputs, **QUIET)
        self.drop.upload(dropped, [self.drop, *given], outputs, **QUIET)
        self.hub.input(from_hub, [self.hub, *given], outputs, **QUIET)
        self.forget.click(ask_first, given, [self.question.row, self.question.words], **QUIET)
        self.question.yes.click(delete, given, outputs, **QUIET)
