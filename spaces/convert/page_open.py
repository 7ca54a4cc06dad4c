"""Opens and describes a source on the page and shows its targets and options. Each part of the page renders itself."""

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
        """The route to the target, and the options of that route."""
        target = state.opened.target(choice)
        shown = self.options.show(target, kept) | self.targets.route(state.opened, choice, state.samples is not None)
        if target and target.get("precision") == "int8" and state.opened.about.get("inputs"):
            shown[self.inputs.samples] = gr.Accordion(open=True)
        return shown | {self.start: gr.Button("Convert", interactive=target is not None)}

    def describe(self, state: TabState, choice: str | None, kept: dict[str, Any] | None = None) -> Updates:
        """The whole page for an opened source, without a result."""
        now = state.opened
        parts = self.targets.show(now, choice) | self.inputs.show(now, state.samples) | self.result.no_result()
        parts |= self.model_source.show(now) | {self.shared.state: state, self.place: gr.Column(visible=True)}
        updates = self.show_target(state, choice, kept)
        if self.inputs.samples in updates:
            updates[self.inputs.samples] = gr.Accordion(visible=True, open=True)
        return parts | updates

    def nothing_open(self, card: str) -> Updates:
        """Nothing is open."""
        gone = {self.shared.state: None, self.model_source.about: card, self.place: gr.Column(visible=False)}
        return self.result.no_result() | gone

    async def still_open(self, state: TabState, error: WorkbenchError) -> Updates:
        """What was open stays, with its results: another file could not be opened."""
        results, now = state.results, state.opened
        choice = results.shown if results and results.shown else self.targets.kept({}, now)
        end = await self.result.show(results) if results else {}
        still = now.source.name or next(iter(now.source.files), "")
        about = {self.model_source.about: failed(error, "not opened", still)}
        return self.describe(state, choice) | self.model_source.restore(now) | end | about

    async def open(
        self, paths: list[str] | None, called: str | None, before: TabState | None, fresh: str, http: gr.Request,
        samples: Samples | None = None,
    ) -> Values:  # fmt: skip
        """``fresh``: what the visitor has just given: "files", "name" or "example"; ``before``: what is open."""
        shared = self.shared
        shared.under_way.stop(http)
        paths, called, again = self.model_source.resolve(paths, called, fresh)
        if not paths and not (called or "").strip():
            shared.visit.keep(http, None)
            yield self.nothing_open(idle(view.IDLE)) | again
            return
        try:
            model = source(paths, called)
            if name := misplaced_file(model.files):
                raise InvalidFile(f"{name!r} is not part of this model. Remove it, and add samples once the model is open.")
            asked = shared.under_way.follow("look", lambda: shared.converter.describe(model), http)
            async with aclosing(asked) as events:
                async for event in events:
                    if not isinstance(event, Ending):
                        yield self.nothing_open(progress(event.stage, event.share))
                        continue
                    state = TabState(Opened(model, event.value), samples=samples)
                    shared.visit.keep(http, state)
                    yield self.describe(state, self.targets.kept({}, state.opened)) | again
                    if samples is not None:
                        async with aclosing(self.inputs.preview_samples(state, None, http)) as seen:
                            async for values in seen:
                                yield values
        except WorkbenchError as error:
            if before is not None and before.there():
                yield await self.still_open(before, error)
                return
            shared.visit.keep(http, None)
            yield self.nothing_open(failed(error, "not opened")) | again

    def open_handed(self, after: Any, paths: gr.State) -> None:
        """Wires the files of another tab (``web/handover.py``)."""

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
                async with aclosing(self.open(paths, called, before, fresh, http)) as found:
                    async for values in found:
                        yield values

            return open_it

        async def open_example(chosen: int, before: TabState | None, http: gr.Request) -> Values:
            async with aclosing(self.open(None, model_source.samples[chosen], before, "example", http)) as found:
                async for values in found:
                    yield values

        async def use_name(
            paths: list[str] | None, before: TabState | None, event: gr.EventData, http: gr.Request
        ) -> Values:
            """The architecture that the card offers for a file of weights."""
            called = str(getattr(event, "pick", ""))
            async with aclosing(self.open(paths, called, before, "name", http)) as found:
                async for values in found:
                    yield values | {model_source.name: called}

        async def choose(state: TabState | None, choice: str | None) -> Updates:
            if state is None:
                return {self.start: gr.skip()}
            return self.show_target(state, choice) | await self.result.show_for_target(state.results, choice)

        async def read_samples(data: dict[Any, Any], http: gr.Request) -> Values:
            if (state := data[shared.state]) is not None:
                async with aclosing(self.inputs.preview_samples(state, data, http)) as seen:
                    async for values in seen:
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
            # in the browser, at once: a click on Convert may follow
            radio.input(None, None, others, js="() => [null, null]", **QUIET)
            radio.input(choose, [shared.state, radio], self.chosen, **QUIET)
        looked = [self.inputs.preview, self.inputs.pictures, targets.way]
        changes = [self.inputs.file.upload, self.inputs.file.clear, *(f.input for f in self.inputs.fields.values())]
        shared.on(changes, read_samples, self.data, looked)
        shared.stop.click(shared.under_way.stop, None, None, api_visibility="private", queue=False)
        shared.visit.restore(self._back, self.everything)

    async def _back(self, page: Arrival) -> Updates:
        """Restores the page after a reload: the source, the chosen target and options, and the results."""
        if page.value is None:
            return {}
        state: TabState = page.value
        if state.samples is not None and not Path(state.samples.path).is_file():
            state.samples = None
        choice = self.targets.kept(page.form, state.opened)
        end = await self.result.show(state.results) if state.results else {}
        if state.unfinished:
            end = self.result.no_result(view_verdict.interrupted(state.unfinished))
        return self.describe(state, choice, self.options.kept(page.form)) | self.model_source.restore(state.opened) | end
