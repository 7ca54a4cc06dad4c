"""A source on the page: opened, described, its target and options chosen. What the page's parts show is theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import InvalidFile, WorkbenchError
from lib.jobs import Result as Ending
from web.cards import failed, idle, progress
from web.visit import Arrival

from . import view, view_verdict
from .page_options import Options
from .page_result import Result
from .page_samples import Inputs
from .page_shared import QUIET, Shared, Updates, Values
from .page_source import Source
from .page_target import Targets
from .subject import Opened, Samples, Work, source, stray


class Page:
    def __init__(
        self, shared: Shared, given: Source, targets: Targets, options: Options, inputs: Inputs, result: Result,
        start: gr.Button, place: gr.Column,
    ) -> None:  # fmt: skip
        self.shared, self.given, self.targets, self.options, self.inputs = shared, given, targets, options, inputs
        self.result, self.start, self.place = result, start, place
        self.chosen = [targets.way, inputs.samples, start, *targets.groups, *options.outputs, *result.outputs]
        self.everything = list(
            dict.fromkeys(
                [shared.work, given.about, given.files, given.name, place, *targets.outputs, *inputs.outputs, *self.chosen]
            )
        )
        self.outcome = [shared.work, inputs.agreement, *self.chosen]
        self.data = {shared.work, *targets.groups, targets.also, *inputs.given, *options.outputs}
        self._connect()

    def settle(self, work: Work, choice: str | None, kept: dict[str, Any] | None = None) -> Updates:
        """The way to the target, and the options of its route only."""
        target = work.opened.target(choice)
        shown = self.options.show(target, kept) | self.targets.route(work.opened, choice, work.samples is not None)
        if target and target.get("precision") == "int8" and work.opened.about.get("inputs"):
            shown[self.inputs.samples] = gr.Accordion(open=True)
        return shown | {self.start: gr.Button("Convert", interactive=target is not None)}

    def describe(self, work: Work, choice: str | None, kept: dict[str, Any] | None = None) -> Updates:
        """The page about a source that was opened, without a result."""
        now = work.opened
        parts = self.targets.show(now, choice) | self.inputs.show(now, work.samples) | self.result.nothing()
        parts |= self.given.show(now) | {self.shared.work: work, self.place: gr.Column(visible=True)}
        settled = self.settle(work, choice, kept)
        if self.inputs.samples in settled:
            settled[self.inputs.samples] = gr.Accordion(visible=True, open=True)
        return parts | settled

    def closed(self, card: str) -> Updates:
        """Nothing is open."""
        gone = {self.shared.work: None, self.given.about: card, self.place: gr.Column(visible=False)}
        return self.result.nothing() | gone

    async def open(
        self, paths: list[str] | None, called: str | None, fresh: str, http: gr.Request, samples: Samples | None = None
    ) -> Values:
        """``fresh``: files, name, example or handed, whichever has just been given."""
        shared = self.shared
        shared.under_way.stop(http)
        paths, called, again = self.given.given(paths, called, fresh)
        shared.visit.keep(http, None)
        if not paths and not (called or "").strip():
            yield self.closed(idle(view.IDLE)) | again
            return
        try:
            model = source(paths, called)
            if name := stray(model.files):
                raise InvalidFile(f"{name!r} is not part of this model. Remove it, and add samples once the model is open.")
            asked = shared.under_way.follow("look", lambda: shared.converter.describe(model), http)
            async with aclosing(asked) as events:
                async for event in events:
                    if not isinstance(event, Ending):
                        yield self.closed(progress(event.stage, event.share))
                        continue
                    work = Work(Opened(model, event.value), samples=samples)
                    shared.visit.keep(http, work)
                    yield self.describe(work, self.targets.kept({}, work.opened)) | again
                    if samples is not None:
                        async with aclosing(self.inputs.look(work, None, http)) as seen:
                            async for values in seen:
                                yield values
        except WorkbenchError as error:
            yield self.closed(failed(error, "not opened")) | again

    def open_handed(self, after: Any, paths: gr.State) -> None:
        """Wires the files of another tab (``web/handover.py``)."""

        async def look_at_handed(found: list[str], http: gr.Request) -> Values:
            model, samples = await self.given.handed(found)
            async with aclosing(self.open(model, None, "files", http, samples)) as opening:
                async for values in opening:
                    yield values | {self.given.files: model, self.given.name: None}

        self.shared.on([after], look_at_handed, [paths], self.everything)

    def _connect(self) -> None:
        shared, given, targets = self.shared, self.given, self.targets

        def opener(fresh: str) -> Callable[..., AsyncIterator[Updates]]:
            async def open_it(paths: list[str] | None, called: str | None, http: gr.Request) -> Values:
                async with aclosing(self.open(paths, called, fresh, http)) as found:
                    async for values in found:
                        yield values

            return open_it

        async def open_example(chosen: int, http: gr.Request) -> Values:
            async with aclosing(self.open(None, given.samples[chosen], "example", http)) as found:
                async for values in found:
                    yield values

        async def use_name(paths: list[str] | None, event: gr.EventData, http: gr.Request) -> Values:
            """The architecture that the card offers for a file of weights."""
            called = str(getattr(event, "pick", ""))
            async with aclosing(self.open(paths, called, "name", http)) as found:
                async for values in found:
                    yield values | {given.name: called}

        async def choose(work: Work | None, choice: str | None) -> Updates:
            if work is None:
                return {self.start: gr.skip()}
            return self.settle(work, choice) | await self.result.aged(work.ended, choice)

        async def read_samples(data: dict[Any, Any], http: gr.Request) -> Values:
            if (work := data[shared.work]) is not None:
                async with aclosing(self.inputs.look(work, data, http)) as seen:
                    async for values in seen:
                        yield values | self.targets.route(work.opened, targets.chosen(data), work.samples is not None)

        model = [given.files, given.name]
        shared.on([given.files.upload, given.files.delete, given.files.clear], opener("files"), model, self.everything)
        shared.on([given.name.input], opener("name"), model, self.everything)
        shared.on([given.about.click], use_name, [given.files], self.everything)
        shared.on([given.examples.click], open_example, [given.examples], self.everything)
        for radio in targets.groups:
            others = [other for other in targets.groups if other is not radio]
            # in the browser, at once: a click on Convert may follow
            radio.input(None, None, others, js="() => [null, null]", **QUIET)
            radio.input(choose, [shared.work, radio], self.chosen, **QUIET)
        looked = [self.inputs.preview, self.inputs.pictures, targets.way]
        changes = [self.inputs.file.upload, self.inputs.file.clear, *(f.input for f in self.inputs.fields.values())]
        shared.on(changes, read_samples, self.data, looked)
        shared.stop.click(shared.under_way.stop, None, None, api_visibility="private", queue=False)
        shared.visit.restore(self._back, self.everything)

    async def _back(self, page: Arrival) -> Updates:
        """The source as it was described, with the target and the options that were chosen, and how it ended."""
        if page.value is None:
            return {}
        work: Work = page.value
        if work.samples is not None and not Path(work.samples.path).is_file():
            work.samples = None
        choice = self.targets.kept(page.form, work.opened)
        end = await self.result.show(work.ended) if work.ended else {}
        if work.begun:
            end = self.result.nothing(view_verdict.left(work.begun))
        return self.describe(work, choice, self.options.kept(page.form)) | self.given.same(work.opened) | end
