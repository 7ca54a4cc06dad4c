"""Try the shown run on a picture: from a file, the camera, or a sample of its data. The app itself opens none."""

from __future__ import annotations

import asyncio
import base64
import binascii
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.train.runs import Run
from lib.train.training import BEST
from web.cards import e, failed, idle

from . import view, view_data, view_result
from .page_shared import QUIET, Shared, Updates
from .page_stage import stamp
from .subject import Subject

SAMPLES = 12
NOTHING = "What the network says about the picture appears here."
LOOKING = "The network looks at the picture … The first time takes a few seconds longer."
NO_RUN = "Train a network first; then try it on a picture here."


class Attempt:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Row(elem_classes="mw-columns"):
            with gr.Column(scale=1, min_width=240):
                self.photo = gr.Image(
                    label="A picture",
                    sources=["upload", "webcam", "clipboard"],
                    type="filepath",
                    image_mode=None,
                    height=260,
                    elem_id="train-photo",
                )
                # gradio would open the upload in this process, with Pillow; the path is enough for the child process
                self.photo.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
                self.samples = gr.HTML(padding=False, elem_id="train-samples", js_on_load=view.PICK)
            with gr.Column(scale=1, min_width=240):
                self.answer = gr.HTML(idle(NO_RUN), padding=False, elem_id="train-answer")
        self.outputs = [self.samples, self.answer, self.photo]

    def show(self, owner: str, run: Run | None) -> Updates:
        if run is None or not stamp(run, BEST):
            return {self.samples: "", self.answer: idle(NO_RUN), self.photo: None}
        some = self._samples(owner, run)
        buttons = "".join(
            f'<button data-pick="{k}" aria-label="Try sample {k + 1}, {e(name)}" title="{e(name)}">'
            f"{view.picture(thumb, name)}</button>"
            for k, (name, _, thumb) in enumerate(some)
        )
        line = f'<p class="mw-quiet">Or a sample of the data:</p><div class="mw-strip">{buttons}</div>' if some else ""
        return {self.samples: f'<div class="mw-train">{line}</div>', self.answer: idle(NOTHING), self.photo: None}

    def _samples(self, owner: str, run: Run) -> list[tuple[str, int, str]]:
        """Of the run's own data, which need not be the chosen one."""
        data = str((run.read().get("data") or {}).get("id", ""))
        return view_data.first_samples(self.shared.summary(owner, data) or {}, SAMPLES)

    def connect(self) -> None:
        shared = self.shared

        async def classify(run: Run, path: Path) -> str:
            try:
                rows = await asyncio.to_thread(shared.trainer.classify, run, [path])
            except WorkbenchError as error:
                return failed(error, "no answer")
            return view_result.scores(rows[0], str((await asyncio.to_thread(run.read)).get("name", "")))

        async def photo(path: str | None, opened: Subject, key: str, http: gr.Request) -> AsyncIterator[str]:
            run = await asyncio.to_thread(shared.run, shared.owner(key, http), shared.desk(http, opened).subject)
            if run is None or not stamp(run, BEST):
                yield idle(NO_RUN)
            elif not path:
                yield idle(NOTHING)
            else:
                yield idle(LOOKING)
                yield await classify(run, Path(path))

        async def sample(opened: Subject, key: str, event: gr.EventData, http: gr.Request) -> AsyncIterator[str]:
            owner = shared.owner(key, http)
            run = await asyncio.to_thread(shared.chosen_run, owner, shared.desk(http, opened).subject)
            some = await asyncio.to_thread(self._samples, owner, run)
            try:
                content = base64.b64decode(some[int(event.pick)][2], validate=True)
            except (AttributeError, ValueError, IndexError, binascii.Error):
                return
            yield idle(LOOKING)
            with tempfile.TemporaryDirectory(prefix="workbench-sample-") as folder:
                (Path(folder) / "sample.jpg").write_bytes(content)
                yield await classify(run, Path(folder) / "sample.jpg")

        given: list[Any] = [shared.subject, shared.key]
        self.photo.input(photo, [self.photo, *given], self.answer, **QUIET)
        self.photo.clear(lambda: idle(NOTHING), None, self.answer, queue=False, **QUIET)
        self.samples.click(sample, given, self.answer, **QUIET)
