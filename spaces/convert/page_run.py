"""Run conversions: one or several targets with the elapsed time, or a remedy chosen by a click."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import Cancelled, WorkbenchError
from lib.jobs import Result as Ending
from web.cards import failed

from . import view_verdict
from .page_open import Page
from .page_result import MAX_REMEDIES, remedies
from .page_shared import QUIET, Updates, Values, require_open, scroll_script
from .subject import Outcome, Results, TabState
from .view_shared import title

RUNNING = "() => ({ __type__: 'update', value: 'Converting …', interactive: false })"
READY = "() => ({ __type__: 'update', value: 'Convert', interactive: true })"  # also after an error


class Run:
    def __init__(self, page: Page) -> None:
        self.page, self.shared = page, page.shared
        at_once: dict[str, Any] = QUIET | {"queue": False}

        def on(trigger: Any, fn: Callable[..., Any]) -> None:
            trigger(None, None, page.start, js=RUNNING, **at_once)
            trigger(None, None, None, js=scroll_script(600), **at_once)
            event = self.shared.on([trigger], fn, page.data, page.outcome)
            event.then(None, None, page.start, js=READY, **at_once)
            event.then(None, None, None, js=scroll_script(100), **at_once)

        on(page.start.click, self.go)
        for k in range(MAX_REMEDIES):
            on(page.result.remedies[k].click, self._remedy(k))
        page.result.table.click(self.pick, [self.shared.state], page.outcome, **QUIET)

    async def go(self, data: dict[Any, Any], http: gr.Request) -> Values:
        """Convert to the chosen targets. Not named ``convert``: gradio names endpoints after functions, and the API has
        /convert."""
        state, targets = require_open(data[self.shared.state]), self.page.targets
        several = dict.fromkeys([targets.chosen(data), *(data[targets.also] or [])])
        valid_targets = [target for target in several if target and state.opened.target(target)]
        if not valid_targets:
            raise gr.Error("Choose a target first.", print_exception=False)
        async with aclosing(self.run(state, valid_targets, data, {}, http)) as updates:
            async for values in updates:
                yield values

    def _remedy(self, k: int) -> Callable[..., Values]:
        async def try_it(data: dict[Any, Any], http: gr.Request) -> Values:
            state = require_open(data[self.shared.state])
            outcome = state.results.open if state.results else None
            rows = remedies(outcome) if outcome is not None else []
            if outcome is None or k >= len(rows):
                raise gr.Error("This result is no longer available. Convert again.", print_exception=False)
            page, change = self.page, rows[k].get("options") or {}
            target = rows[k].get("target") or outcome.report["target"]["format"]
            yield page.targets.pick(target, state.opened) | page.show_target(state, target, change)
            if "min_agreement" in change:
                yield {page.inputs.agreement: change["min_agreement"]}
            async with aclosing(self.run(state, [target], data, change, http)) as updates:
                async for values in updates:
                    yield values

        return try_it

    async def run(
        self, state: TabState, targets: list[str], data: dict[Any, Any], change: dict[str, Any], http: gr.Request
    ) -> Values:
        """Convert to each of ``targets`` with the form's options and ``change``. A new TabState replaces the old one."""
        page, shared = self.page, self.shared
        samples = page.inputs.read(state.opened, data)
        samples = state.samples if samples == state.samples else samples
        try:
            proof = page.inputs.options(samples, data)
        except WorkbenchError as error:
            yield page.result.no_result(failed(error, "not converted"))
            return
        state = TabState(state.opened, samples=samples, unfinished=targets)
        shared.visit.keep(http, state)
        yield {shared.state: state}
        results, finished = Results(shared.folders.new()), False
        try:
            for number, target in enumerate(targets):
                turn = f"{number + 1} of {len(targets)}: {title(target)}" if len(targets) > 1 else ""
                options = page.options.values(state.opened.target(target) or {}, data) | proof | change
                async with aclosing(self._one(state, target, options, results, turn, http)) as events:
                    async for values in events:
                        yield values
            results.shown = next((target for target in targets if target in results.outcomes), "")
            finished = True
            # a new TabState, because closing the previous one must not remove these files
            state = TabState(state.opened, results, samples)
            shared.visit.keep(http, state)
            yield await page.result.show(results) | {shared.state: state}
        except Cancelled as error:
            state.unfinished = []
            yield page.result.no_result(failed(error, "not converted"))
        finally:
            if not finished:
                await asyncio.to_thread(results.close)

    async def _one(
        self, state: TabState, target: str, options: dict[str, Any], results: Results, turn: str, http: gr.Request
    ) -> Values:
        """Convert to ``target`` and add the outcome or the error to ``results``. Raises Cancelled."""
        page, shared = self.page, self.shared
        folder = Path(results.folder) / target
        folder.mkdir()
        start_time, estimate = time.monotonic(), (state.opened.target(target) or {}).get("seconds")
        convert = shared.converter.convert
        try:
            job_events = shared.under_way.follow(
                "convert", lambda: convert(state.opened.source, target, options, folder), http
            )
            async with aclosing(job_events) as events:
                async for event in events:
                    if isinstance(event, Ending):
                        results.outcomes[target] = Outcome.of(str(folder), event.value)
                        return
                    elapsed = time.monotonic() - start_time
                    card = view_verdict.running(event.stage, event.share, elapsed, estimate, turn)
                    yield page.result.no_result(card)
        except Cancelled:
            raise
        except WorkbenchError as error:
            results.errors[target] = error

    async def pick(self, state: TabState | None, event: gr.EventData) -> Updates:
        """Show the result of the table row that was clicked."""
        target = str(getattr(event, "pick", ""))
        results = state.results if state else None
        if state is None or results is None or target not in results.outcomes:
            return {self.shared.state: gr.skip()}
        results.shown = target
        return (
            self.page.targets.pick(target, state.opened)
            | self.page.show_target(state, target)
            | await self.page.result.show(results)
        )
