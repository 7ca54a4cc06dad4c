"""Open and describe a source on the page and show its targets and options. Each part of the page renders itself."""

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
from .subject import Opened, Samples, TabState, misplaced_file, source


class Page:
    def __init__(
        self, shared: Shared, model_source: Source, targets: Targets, options: Options, inputs: Inputs, result: Result,
        start: gr.Button, place: gr.Column,
    ) -> None:  # fmt: skip
        self.shared, self.model_source, self.targets, self.options, self.inputs = (
            shared,
            model_source,
            targets,
            options,
            inputs,
        )
        self.result, self.start, self.place = result, start, place
        self.chosen = [targets.way, inputs.samples, start, *targets.groups, *options.outputs, *result.outputs]
        self.everything = list(
            dict.fromkeys(
                [
                    shared.state,
                    model_source.about,
                    model_source.files,
                    model_source.name,
                    place,
                    *targets.outputs,
                    *inputs.outputs,
                    *self.chosen,
                ]
            )
        )
        self.outcome = [shared.state, inputs.agreement, *self.chosen]
        self.data = {shared.state, *targets.groups, targets.also, *inputs.components, *options.outputs}
        self._connect()

    def show_target(self, state: TabState, choice: str | None, kept: dict[str, Any] | None = None) -> Updates:
        """Return the updates for the route to the target and its options."""
        target = state.opened.target(choice)
        updates = self.options.show(target, kept) | self.targets.route(state.opened, choice, state.samples is not None)
        if target and target.get("precision") == "int8" and state.opened.about.get("inputs"):
            updates[self.inputs.samples] = gr.Accordion(open=True)
        return updates | {self.start: gr.Button("Convert", interactive=target is not None)}

    def describe(self, state: TabState, choice: str | None, kept: dict[str, Any] | None = None) -> Updates:
        """Return the updates of the whole page for an opened source, without a result."""
        opened = state.opened
        page_updates = self.targets.show(opened, choice) | self.inputs.show(opened, state.samples) | self.result.no_result()
        page_updates |= self.model_source.show(opened) | {self.shared.state: state, self.place: gr.Column(visible=True)}
        updates = self.show_target(state, choice, kept)
        if self.inputs.samples in updates:
            updates[self.inputs.samples] = gr.Accordion(visible=True, open=True)
        return page_updates | updates

    def nothing_open(self, card: str) -> Updates:
        """Return the updates for a page without an open source. ``card`` says why."""
        cleared = {self.shared.state: None, self.model_source.about: card, self.place: gr.Column(visible=False)}
        return self.result.no_result() | cleared

    async def still_open(self, state: TabState, error: WorkbenchError) -> Updates:
        """Return the updates that keep the open source and its results when another file could not be opened."""
        results, opened = state.results, state.opened
        choice = results.shown if results and results.shown else self.targets.kept({}, opened)
        result_updates = await self.result.show(results) if results else {}
        name = opened.source.name or next(iter(opened.source.files), "")
        message = {self.model_source.about: failed(error, "not opened", name)}
        return self.describe(state, choice) | self.model_source.restore(opened) | result_updates | message

    async def open(
        self, paths: list[str] | None, called: str | None, before: TabState | None, fresh: str, http: gr.Request,
        samples: Samples | None = None,
    ) -> Values:  # fmt: skip
        """Open a source. ``fresh``: the input that changed, "files", "name" or "example"; ``before``: the open state."""
        shared = self.shared
        shared.under_way.stop(http)
        paths, called, box_updates = self.model_source.resolve(paths, called, fresh)
        if not paths and not (called or "").strip():
            shared.visit.keep(http, None)
            yield self.nothing_open(idle(view.IDLE)) | box_updates
            return
        try:
            model = source(paths, called)
            if name := misplaced_file(model.files):
                raise InvalidFile(f"{name!r} is not part of this model. Remove it, and add samples once the model is open.")
            job_events = shared.under_way.follow("look", lambda: shared.converter.describe(model), http)
            async with aclosing(job_events) as events:
                async for event in events:
                    if not isinstance(event, Ending):
                        yield self.nothing_open(progress(event.stage, event.share))
                        continue
                    state = TabState(Opened(model, event.value), samples=samples)
                    shared.visit.keep(http, state)
                    yield self.describe(state, self.targets.kept({}, state.opened)) | box_updates
                    if samples is not None:
                        async with aclosing(self.inputs.preview_samples(state, None, http)) as previews:
                            async for values in previews:
                                yield values
        except WorkbenchError as error:
            if before is not None and before.there():
                yield await self.still_open(before, error)
                return
            shared.visit.keep(http, None)
            yield self.nothing_open(failed(error, "not opened")) | box_updates

    def open_handed(self, after: Any, paths: gr.State) -> None:
        """Connect the handler for files from another tab (``web/handover.py``)."""

        async def look_at_handed(found: list[str], before: TabState | None, http: gr.Request) -> Values:
            model, samples = await self.model_source.from_other_tab(found)
            async with aclosing(self.open(model, None, before, "files", http, samples)) as opening:
                async for values in opening:
                    yield values | {self.model_source.files: model, self.model_source.name: None}

        self.shared.on([after], look_at_handed, [paths, self.shared.state], self.everything)

    def _connect(self) -> None:
        shared, model_source, targets = self.shared, self.model_source, self.targets

        def opener(fresh: str) -> Callable[..., AsyncIterator[Updates]]:
            async def open_it(
                paths: list[str] | None, called: str | None, before: TabState | None, http: gr.Request
            ) -> Values:
                async with aclosing(self.open(paths, called, before, fresh, http)) as updates:
                    async for values in updates:
                        yield values

            return open_it

        async def open_example(chosen: int, before: TabState | None, http: gr.Request) -> Values:
            async with aclosing(self.open(None, model_source.samples[chosen], before, "example", http)) as updates:
                async for values in updates:
                    yield values

        async def use_name(
            paths: list[str] | None, before: TabState | None, event: gr.EventData, http: gr.Request
        ) -> Values:
            """Open the architecture that the card offers for a file of weights."""
            called = str(getattr(event, "pick", ""))
            async with aclosing(self.open(paths, called, before, "name", http)) as updates:
                async for values in updates:
                    yield values | {model_source.name: called}

        async def choose(state: TabState | None, choice: str | None) -> Updates:
            if state is None:
                return {self.start: gr.skip()}
            return self.show_target(state, choice) | await self.result.show_for_target(state.results, choice)

        async def read_samples(data: dict[Any, Any], http: gr.Request) -> Values:
            if (state := data[shared.state]) is not None:
                async with aclosing(self.inputs.preview_samples(state, data, http)) as previews:
                    async for values in previews:
                        yield values | self.targets.route(state.opened, targets.chosen(data), state.samples is not None)

        model = [model_source.files, model_source.name, shared.state]
        shared.on(
            [model_source.files.upload, model_source.files.delete, model_source.files.clear],
            opener("files"),
            model,
            self.everything,
        )
        shared.on([model_source.name.input], opener("name"), model, self.everything)
        shared.on([model_source.about.click], use_name, [model_source.files, shared.state], self.everything)
        shared.on([model_source.examples.click], open_example, [model_source.examples, shared.state], self.everything)
        for radio in targets.groups:
            others = [other for other in targets.groups if other is not radio]
            # in the browser, so that it takes effect before a click on Convert
            radio.input(None, None, others, js="() => [null, null]", **QUIET)
            radio.input(choose, [shared.state, radio], self.chosen, trigger_mode="always_last", **QUIET)
        sample_outputs = [self.inputs.preview, self.inputs.pictures, targets.way]
        changes = [self.inputs.file.upload, self.inputs.file.clear, *(f.input for f in self.inputs.fields.values())]
        shared.on(changes, read_samples, self.data, sample_outputs)
        shared.stop.click(shared.under_way.stop, None, None, api_visibility="private", queue=False)
        shared.visit.restore(self._back, self.everything)

    async def _back(self, page: Arrival) -> Updates:
        """Restore the page after a reload: the source, the chosen target and options, and the results."""
        if page.value is None:
            return {}
        state: TabState = page.value
        if state.samples is not None and not Path(state.samples.path).is_file():
            state.samples = None
        choice = self.targets.kept(page.form, state.opened)
        results = await self.result.show(state.results) if state.results else {}
        if state.unfinished:
            results = self.result.no_result(view_verdict.interrupted(state.unfinished))
        return self.describe(state, choice, self.options.kept(page.form)) | self.model_source.restore(state.opened) | results
