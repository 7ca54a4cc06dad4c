"""The tab's page: lays out its parts and keeps them in sync with the visitor's trainings.

A training belongs to the visitor, not to the page. A timer polls for changes, so that every open page, also one that was
reloaded, shows the same. This module decides when a part is updated; the parts render themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.train.edge.running_export import Exports
from lib.train.running_training import RunningTraining
from lib.train.trainer import Trainer
from web.handover import Offer
from web.html import html
from web.visit import Arrival, Visit

from .page_data import Data
from .page_export import Export
from .page_form import Form, no_pictures
from .page_result import Result
from .page_runs import Board, Runs
from .page_shared import QUIET, PageState, Shared, Updates
from .page_stage import Stage
from .page_try import Attempt
from .page_watch import Watch
from .subject import Subject

FAST, SLOW = 1.0, 4.0  # polling intervals in seconds: while a job runs, and otherwise
TO_THE_CARD = "() => document.querySelector('#train-stage')?.scrollIntoView({ block: 'nearest', behavior: 'smooth' })"

DISABLED = "() => ({ __type__: 'update', interactive: false })"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page shows: a signature per part, and the ids of the trainings it knows (``known``)."""

    stage: str = ""
    result: str = ""
    files: str = ""
    export: str = ""
    runs: str = ""
    busy: bool = False
    known: frozenset[str] = frozenset()


def build(trainer: Trainer, exports: Exports, visit: Visit) -> list[Offer]:
    """Build the page. Returns its offers of model files to other tabs."""
    shared = Shared(trainer, visit)
    with gr.Row(elem_classes="mw-columns"):
        with gr.Column(scale=4, min_width=300):
            data = Data(shared)
            form = Form(shared)
        with gr.Column(scale=7, min_width=320):
            stage = Stage(shared)
            with gr.Tabs(elem_classes="mw-inner", overflow_behavior="wrap"):
                with gr.Tab("Result"):
                    result = Result(shared)
                with gr.Tab("Try it"):
                    attempt = Attempt(shared)
                with gr.Tab("Export"):
                    export = Export(shared, exports)
                with gr.Tab("Watch"):
                    watch = Watch(shared)
                with gr.Tab("Runs"):
                    runs = Runs(shared)
                with gr.Tab("TensorBoard") as tab:
                    board = Board(shared, tab)
    page = Page(shared, data, form, stage, result, attempt, export, watch, runs)
    for event in data.connect():
        form.after(event)
    form.connect()
    result.connect()
    attempt.connect(export, page.show, page.everything)
    export.connect(page.show, page.everything)
    watch.connect()
    runs.connect()
    board.connect()
    page.connect()
    return export.offers


class Page:
    def __init__(
        self, shared: Shared, data: Data, form: Form, stage: Stage, result: Result, attempt: Attempt, export: Export,
        watch: Watch, runs: Runs,
    ) -> None:  # fmt: skip
        self.shared, self.data, self.form, self.stage = shared, data, form, stage
        self.result, self.attempt, self.export, self.watch, self.runs = result, attempt, export, watch, runs
        self.seen = gr.State(Seen())
        self.timer = gr.Timer(SLOW)
        self.everything = [self.timer, form.said, form.stop]
        self.everything += [*stage.outputs, *result.outputs, *attempt.outputs, *runs.outputs]
        self.everything += [*export.outputs, *watch.outputs]

    def show(self, owner: str, state: PageState, http: gr.Request, seen: Seen | None = None) -> Updates:
        """Return the updates since ``seen``, or of every part if it is None. A training that is new to the page becomes the
        shown run."""
        with state.lock:
            trainings = self.shared.trainer.of(owner)
            for one in trainings:
                one.touch()
            self.export.exports.touch(self.shared.trainer.runs(owner).home)
            fresh = [one for one in trainings if one.run.id not in seen.known] if seen is not None else []
            if fresh and state.subject.run != fresh[-1].run.id:
                self.shared.select(http, state, run=fresh[-1].run.id)
            try:
                state.seen, updates = self._changed(owner, state.subject, trainings, seen or Seen())
            except WorkbenchError:  # the run was deleted meanwhile
                if self.shared.run(owner, state.subject) is not None:
                    raise
                state.seen, updates = self._changed(owner, replace(state.subject, run=""), trainings, Seen())
            return updates

    def _changed(self, owner: str, subject: Subject, ways: Sequence[RunningTraining], before: Seen) -> tuple[Seen, Updates]:
        run = self.shared.run(owner, subject)
        current = Seen(
            stage=self.stage.sign(run, ways),
            result=self.result.sign(run),
            files=self.export.sign(run),
            export=self.export.sign_progress(run),
            runs=self.runs.sign(owner, run),
            busy=bool(ways) or self.export.busy(run) or (run is not None and self.stage.pending(run)),
            known=before.known | {one.run.id for one in ways},
        )
        updates: Updates = {
            self.timer: gr.Timer(FAST if current.busy else SLOW) if current.busy != before.busy else gr.skip()
        }
        if current.stage != before.stage:
            updates |= self.stage.show(run, ways) | {self.form.stop: gr.Button(interactive=bool(ways))}
        if current.result != before.result:
            updates |= self.result.show(run) | self.attempt.show(owner, run) | self.watch.show(run)
        if current.files != before.files:
            updates |= self.export.show(run) | self.attempt.show_files(run)
        if (current.export, current.files) != (before.export, before.files):
            export_updates = self.export.show_progress(run)
            ended = self.export.was_busy(run, before.export) and not self.export.busy(run)
            updates |= export_updates | self.attempt.show_making(export_updates[self.export.said], ended)
        if current.runs != before.runs:
            updates |= self.runs.show(owner, run)
        return current, updates

    def connect(self) -> None:
        shared, form, stage, runs = self.shared, self.form, self.stage, self.runs
        inputs = [shared.subject, shared.key]

        def start(opened: Subject, key: str, name: str | None, http: gr.Request, *values: Any) -> Updates:
            owner, state = shared.owner(key, http), shared.state(http, opened)
            data = state.subject.data
            try:
                recipe = form.recipe(values)
                if shared.summary(owner, data) is None:
                    raise no_pictures()
                one = shared.trainer.train(owner, data, recipe, (name or "").strip())
            except WorkbenchError as error:
                return {form.said: form.alert(error)}
            said = form.estimate(owner, data, dict(zip(form.fields, values, strict=True)))
            return open_it(owner, state, one.run.id, http) | {form.said: said}

        def open_it(owner: str, state: PageState, run: str, http: gr.Request) -> Updates:
            with state.lock:
                shared.select(http, state, run=run)
                return self.show(owner, state, http)

        def stop(opened: Subject, key: str, http: gr.Request) -> Updates:
            """Stop the shown run if it is running, else the visitor's oldest training."""
            owner, state = shared.owner(key, http), shared.state(http, opened)
            for one in sorted(shared.trainer.of(owner), key=lambda one: one.run.id != state.subject.run)[:1]:
                one.stop()
                one.done.wait(5)
            return self.show(owner, state, http)

        def look(opened: Subject, seen: Seen, key: str, http: gr.Request) -> Updates:
            state = shared.state(http, opened)
            with state.lock:
                return self.show(shared.owner(key, http), state, http, state.seen or seen)

        def open_run(opened: Subject, key: str, event: gr.EventData, http: gr.Request) -> Updates:
            """Open the run of a pressed button, ``run:<id>``, in the table or on the card."""
            owner, state = shared.owner(key, http), shared.state(http, opened)
            kind, _, id = str(getattr(event, "pick", "")).partition(":")
            if kind != "run" or shared.run(owner, Subject(run=id)) is None:
                return self.show(owner, state, http)
            return open_it(owner, state, id, http)

        def once_more(ask: Callable[[Any], RunningTraining]) -> Callable[..., Updates]:
            def begin(opened: Subject, key: str, http: gr.Request) -> Updates:
                owner, state = shared.owner(key, http), shared.state(http, opened)
                try:
                    one = ask(shared.chosen_run(owner, state.subject))
                except WorkbenchError as error:
                    raise gr.Error(error.message, print_exception=False) from None
                return open_it(owner, state, one.run.id, http)

            return begin

        def ask_first(opened: Subject, key: str, http: gr.Request) -> Updates:
            name = shared.chosen_run(shared.owner(key, http), shared.state(http, opened).subject).record().name
            return stage.question.ask(html("Delete the run <b>{}</b> with its weights and curves?", name))

        def delete(opened: Subject, key: str, http: gr.Request) -> Updates:
            owner, state = shared.owner(key, http), shared.state(http, opened)
            try:
                run = shared.chosen_run(owner, state.subject)
                self.export.exports.stop(run.id, wait=5)
                shared.trainer.delete(run)
            except WorkbenchError as error:
                raise gr.Error(error.message, print_exception=False) from None
            remaining = shared.trainer.runs(owner).records()
            return open_it(owner, state, remaining[0].id if remaining else "", http)

        immediate: dict[str, Any] = QUIET | {"queue": False}  # these handlers do not block
        form.start.click(start, [*inputs, form.name, *form.given], self.everything, **immediate).then(
            None, None, None, js=TO_THE_CARD, **immediate
        )
        form.stop.click(None, None, form.stop, js=DISABLED, **immediate)
        form.stop.click(stop, inputs, self.everything, **immediate)
        self.timer.tick(look, [shared.subject, self.seen, shared.key], self.everything, **immediate)
        stage.card.click(open_run, inputs, self.everything, **immediate)
        runs.table.click(open_run, inputs, self.everything, **immediate)
        stage.again.click(once_more(shared.trainer.reproduce), inputs, self.everything, **immediate)
        stage.go_on.click(once_more(shared.trainer.resume), inputs, self.everything, **immediate)
        stage.delete.click(ask_first, inputs, [stage.question.row, stage.question.words], **immediate)
        stage.question.yes.click(delete, inputs, self.everything, **immediate)
        shared.visit.restore(self._back, [shared.subject, self.seen, *self.everything, *self.data.outputs])

    async def _back(self, page: Arrival) -> Updates:
        return await asyncio.to_thread(self._restored, page)

    def _restored(self, page: Arrival) -> Updates:
        """Return the updates that restore the visitor's data and run, else the current training, else the newest run."""
        if not page.key:
            return {}
        owner = self.shared.owner(page.key)
        subject = page.value if isinstance(page.value, Subject) else Subject()
        trainings, records = self.shared.trainer.of(owner), self.shared.trainer.runs(owner).records()
        if self.shared.run(owner, subject) is None:
            newest = trainings[-1].run.id if trainings else records[0].id if records else ""
            subject = replace(subject, run=newest)
        if self.shared.summary(owner, subject.data) is None:
            subject = replace(subject, data=next((r.data.id for r in records if r.id == subject.run), ""))
        summary = self.shared.summary(owner, subject.data)
        seen, updates = self._changed(owner, subject, trainings, Seen())
        return (
            {self.shared.subject: subject, self.seen: seen}
            | updates
            | self.data.show(summary, subject.data)
            | {self.form.said: self.form.estimate(owner, subject.data, page.form)}
        )
