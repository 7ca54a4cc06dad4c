"""From the click on Convert to the verdict: one target or several, with elapsed time; and a remedy tried by a click."""

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
from .page_shared import QUIET, Updates, Values, look, opened
from .subject import Ended, Outcome, Work
from .view_shared import title

RUNNING = "() => ({ __type__: 'update', value: 'Converting …', interactive: false })"
READY = "() => ({ __type__: 'update', value: 'Convert', interactive: true })"  # whatever went wrong


class Run:
    def __init__(self, page: Page) -> None:
        self.page, self.shared = page, page.shared
        at_once: dict[str, Any] = QUIET | {"queue": False}

        def on(trigger: Any, fn: Callable[..., Any]) -> None:
            trigger(None, None, page.start, js=RUNNING, **at_once)
            trigger(None, None, None, js=look(600), **at_once)
            event = self.shared.on([trigger], fn, page.data, page.outcome)
            event.then(None, None, page.start, js=READY, **at_once)
            event.then(None, None, None, js=look(100), **at_once)

        on(page.start.click, self.go)
        for k in range(MAX_REMEDIES):
            on(page.result.remedies[k].click, self._remedy(k))
        page.result.table.click(self.pick, [self.shared.work], page.outcome, **QUIET)

    async def go(self, data: dict[Any, Any], http: gr.Request) -> Values:
        """gradio names endpoints by their functions, and /convert is the API's."""
        work, targets = opened(data[self.shared.work]), self.page.targets
        several = dict.fromkeys([targets.chosen(data), *(data[targets.also] or [])])
        wanted = [target for target in several if target and work.opened.target(target)]
        if not wanted:
            raise gr.Error("Choose a target first.", print_exception=False)
        async with aclosing(self.run(work, wanted, data, {}, http)) as found:
            async for values in found:
                yield values

    def _remedy(self, k: int) -> Callable[..., Values]:
        async def try_it(data: dict[Any, Any], http: gr.Request) -> Values:
            work = opened(data[self.shared.work])
            end = work.ended.open if work.ended else None
            found = remedies(end) if end is not None else []
            if end is None or k >= len(found):
                raise gr.Error("This result is no longer available. Convert again.", print_exception=False)
            page, change = self.page, found[k].get("options") or {}
            target = found[k].get("target") or end.report["target"]["format"]
            yield page.targets.pick(target, work.opened) | page.settle(work, target, change)
            if "min_agreement" in change:
                yield {page.inputs.agreement: change["min_agreement"]}
            async with aclosing(self.run(work, [target], data, change, http)) as again:
                async for values in again:
                    yield values

        return try_it

    async def run(
        self, work: Work, targets: list[str], data: dict[Any, Any], change: dict[str, Any], http: gr.Request
    ) -> Values:
        """Converts to each of ``targets``, with the form's options and ``change``; a new Work takes the old one's place."""
        page, shared = self.page, self.shared
        samples = page.inputs.read(work.opened, data)
        samples = work.samples if samples == work.samples else samples
        try:
            proof = page.inputs.options(samples, data)
        except WorkbenchError as error:
            yield page.result.nothing(failed(error, "not converted"))
            return
        work = Work(work.opened, samples=samples, begun=targets)
        shared.visit.keep(http, work)
        yield {shared.work: work}
        ended, done = Ended(shared.folders.new()), False
        try:
            for number, target in enumerate(targets):
                turn = f"{number + 1} of {len(targets)}: {title(target)}" if len(targets) > 1 else ""
                options = page.options.values(work.opened.target(target) or {}, data) | proof | change
                async with aclosing(self._one(work, target, options, ended, turn, http)) as events:
                    async for values in events:
                        yield values
            ended.shown = next((target for target in targets if target in ended.outcomes), "")
            done = True
            # a new one: letting go of the one before must not remove these files
            work = Work(work.opened, ended, samples)
            shared.visit.keep(http, work)
            yield await page.result.show(ended) | {shared.work: work}
        except Cancelled as error:
            work.begun = []
            yield page.result.nothing(failed(error, "not converted"))
        finally:
            if not done:
                await asyncio.to_thread(ended.close)

    async def _one(
        self, work: Work, target: str, options: dict[str, Any], ended: Ended, turn: str, http: gr.Request
    ) -> Values:
        """Puts its outcome, or why there is none, into ``ended``. Raises Cancelled."""
        page, shared = self.page, self.shared
        folder = Path(ended.folder) / target
        folder.mkdir()
        begun, estimate = time.monotonic(), (work.opened.target(target) or {}).get("seconds")
        ask = shared.converter.convert
        try:
            asked = shared.under_way.follow("convert", lambda: ask(work.opened.source, target, options, folder), http)
            async with aclosing(asked) as events:
                async for event in events:
                    if isinstance(event, Ending):
                        ended.outcomes[target] = Outcome.of(str(folder), event.value)
                        return
                    elapsed = time.monotonic() - begun
                    card = view_verdict.running(event.stage, event.share, elapsed, estimate, turn)
                    yield page.result.nothing(card)
        except Cancelled:
            raise
        except WorkbenchError as error:
            ended.errors[target] = error

    async def pick(self, work: Work | None, event: gr.EventData) -> Updates:
        """Another row of the table."""
        target = str(getattr(event, "pick", ""))
        ended = work.ended if work else None
        if work is None or ended is None or target not in ended.outcomes:
            return {self.shared.work: gr.skip()}
        ended.shown = target
        return (
            self.page.targets.pick(target, work.opened) | self.page.settle(work, target) | await self.page.result.show(ended)
        )
