"""The "Try it" part of the page: classifies a picture from a file, the camera or the data set with the shown run.

Pictures are opened in a child process only. The run's own framework answers first, then each further runtime classifies
the same picture and its answer is added. Below is the card whose network runs in the visitor's browser.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from markupsafe import Markup

from lib.errors import NotFound, WorkbenchError
from lib.train import network_cache
from lib.train.classification import Classification, Unreadable
from lib.train.data_summary import DataSummary
from lib.train.runs import Run
from lib.train.training import BEST
from web.cards import failed, idle
from web.html import Html, html, join

from . import files, in_browser, view, view_data, view_try
from .page_export import Export, Refresh
from .page_shared import QUIET, Shared, Updates
from .page_stage import stamp
from .subject import Subject

SAMPLES = 12
NOTHING = "The prediction for the picture appears here."
LOOKING = "Classifying the picture … The first time takes a few seconds longer."
NO_RUN = "Train a network first, then try it on a picture here."
READY = "The file is ready. Choose the picture again to compare."
Answers = AsyncIterator[str]


class Attempt:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Row(elem_classes="mw-columns"):
            with gr.Column(scale=2, min_width=220):
                self.photo = gr.Image(
                    label="A picture",
                    sources=["upload", "webcam", "clipboard"],
                    type="filepath",
                    image_mode=None,
                    height=260,
                    elem_id="train-photo",
                )
                # gradio would open the upload with Pillow in this process; the child process needs only the path
                self.photo.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
                self.samples = Html(padding=False, elem_id="train-samples", js_on_load=view.PICK)
            with gr.Column(scale=3, min_width=240):
                self.answer = Html(idle(NO_RUN), padding=False, elem_id="train-answer", js_on_load=view.PICK)
        self.said = Html(padding=False, elem_id="train-making")
        self.browser = Html(padding=False, elem_id="train-browser", js_on_load=in_browser.script())
        self.outputs = [self.samples, self.answer, self.photo, self.browser, self.said]

    def show(self, owner: str, run: Run | None) -> Updates:
        """Return the updates for another run or new weights. They clear the picture and its answer."""
        if run is None or not stamp(run, BEST):
            return {self.samples: "", self.answer: idle(NO_RUN), self.photo: None, self.browser: "", self.said: ""}
        samples = self._samples(owner, run)
        buttons = join(_sample(k, name, thumb) for k, (name, _, thumb) in enumerate(samples))
        line = html('<p class="mw-quiet">Or a sample of the data:</p><div class="mw-strip">{}</div>', buttons)
        shown = {
            self.samples: html('<div class="mw-train">{}</div>', line if samples else ""),
            self.answer: idle(NOTHING),
            self.photo: None,
        }
        return shown | self.show_files(run)

    def show_files(self, run: Run | None) -> Updates:
        """Return the updates after an export: the card of the browser may use the new ONNX file."""
        if run is None or not stamp(run, BEST):
            return {self.browser: "", self.said: ""}
        onnx = f"{files.address(run.id)}{name}" if (name := files.file_of(run, "onnx")) else ""
        classes = list(run.record().classes)
        return {self.browser: in_browser.card(run.id, classes, onnx), self.said: ""}

    def show_making(self, words: str, ended: bool) -> Updates:
        """Return the updates for an export. ``words``: its progress, "" if none; ``ended``: it has just ended."""
        return {self.said: words or (idle(READY) if ended else "")}

    def _samples(self, owner: str, run: Run) -> list[tuple[str, int, str]]:
        """Return samples of the data that the run was trained on, which may differ from the chosen data."""
        data = run.record().data.id
        return view_data.first_samples(self.shared.summary(owner, data) or DataSummary(), SAMPLES)

    def connect(self, export: Export, refresh: Refresh, everything: list[Any]) -> None:
        shared = self.shared

        async def photo(path: str | None, opened: Subject, key: str, http: gr.Request) -> Answers:
            run = await asyncio.to_thread(shared.run, shared.owner(key, http), shared.state(http, opened).subject)
            if run is None or not stamp(run, BEST):
                yield idle(NO_RUN)
            elif not path:
                yield idle(NOTHING)
            else:
                yield idle(LOOKING)
                async for card in self._answers(run, Path(path), f"./gradio_api/file={quote(path)}"):
                    yield card

        async def sample(opened: Subject, key: str, event: gr.EventData, http: gr.Request) -> Answers:
            owner = shared.owner(key, http)
            run = await asyncio.to_thread(shared.chosen_run, owner, shared.state(http, opened).subject)
            samples = await asyncio.to_thread(self._samples, owner, run)
            try:
                thumb = samples[int(event.pick)][2]
                content = base64.b64decode(thumb, validate=True)
            except (AttributeError, ValueError, IndexError, binascii.Error):
                return
            yield idle(LOOKING)
            with tempfile.TemporaryDirectory(prefix="workbench-sample-") as folder:
                (Path(folder) / "sample.jpg").write_bytes(content)
                async for card in self._answers(run, Path(folder) / "sample.jpg", f"data:image/jpeg;base64,{thumb}"):
                    yield card

        def make(opened: Subject, key: str, event: gr.EventData, http: gr.Request) -> Updates:
            """Export the target of a pressed button, ``make:<target>``, whose file is missing."""
            kind, _, target = str(getattr(event, "pick", "")).partition(":")
            if kind != "make" or target not in view_try.FILES:
                return {}
            return export.export([target], opened, key, http, refresh)

        inputs: list[Any] = [shared.subject, shared.key]
        # Gradio drops an event that comes while the one before runs, by default: the last picture would get no answer
        last: dict[str, Any] = {"trigger_mode": "always_last"}
        self.photo.input(photo, [self.photo, *inputs], self.answer, **last, **QUIET)
        self.photo.clear(lambda: idle(NOTHING), None, self.answer, queue=False, **QUIET)
        self.samples.click(sample, inputs, self.answer, **last, **QUIET)
        for part in (self.answer, self.browser):
            part.click(make, inputs, everything, queue=False, **QUIET)

    async def _answers(self, run: Run, path: Path, image: str) -> Answers:
        """Yield the card, again after the answer of each runtime."""
        classify = self.shared.trainer.classify
        try:
            record = await asyncio.to_thread(run.record)
            (row,) = await asyncio.to_thread(classify, run, [path])
        except WorkbenchError as error:
            yield failed(error, "no answer")
            return
        name, own = record.name, view.framework(record)
        others: dict[str, view_try.Row] = {}
        for runtime, targets in network_cache.TARGETS.items():
            try:
                await asyncio.to_thread(network_cache.file_for, run, runtime)
                others[runtime] = None
            except NotFound:
                others[runtime] = view_try.Needs(targets[0])
        yield view_try.answer(row, name, image, others, own)
        for runtime in [runtime for runtime, answer in others.items() if answer is None and isinstance(row, Classification)]:
            try:
                (others[runtime],) = await asyncio.to_thread(classify, run, [path], runtime)
            except WorkbenchError as error:
                others[runtime] = Unreadable(error=error.message)
            yield view_try.answer(row, name, image, others, own)


def _sample(k: int, name: str, thumb: str) -> Markup:
    image = view.picture(thumb, name)
    return html('<button data-pick="{0}" aria-label="Try sample {1}, {2}" title="{2}">{3}</button>', k, k + 1, name, image)
