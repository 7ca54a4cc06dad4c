"""The export part of the page: exports the shown run to each chosen target and hands the files to other tabs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.train.edge.running_export import Exports
from lib.train.runs import Run
from lib.train.training import BEST
from web.cards import failed, idle, progress
from web.handover import Offer
from web.html import Html

from . import files, view, view_export
from .page_shared import QUIET, PageState, Shared, Updates
from .page_stage import stamp
from .subject import Subject

NO_RUN = "Train a network first, then make files for phones and other runtimes here."
TO_CONVERT = "convert"
PLACES = {"inspect": "Open in Inspect", TO_CONVERT: "Open in Convert"}
BUSY = "() => ({ __type__: 'update', interactive: false })"
ON, OFF = gr.update(interactive=True), gr.update(interactive=False)
Refresh = Callable[[str, PageState, gr.Request, Any], Updates]


class Export:
    def __init__(self, shared: Shared, exports: Exports) -> None:
        self.shared, self.exports = shared, exports
        # the values are titles, because gradio uses each value as the accessible name of its checkbox
        self.targets = gr.CheckboxGroup(
            list(view_export.TITLES.values()),
            value=list(view_export.TITLES.values()),
            label="Files",
            info="ONNX runs on servers and in browsers, TensorFlow Lite on phones. float16 is half the size, int8 a third. "
            "The first TensorFlow Lite file on a server takes a minute longer: it downloads the converter, about 40 MB.",
            elem_id="train-targets",
        )
        with gr.Row(elem_classes="mw-own"):
            options: dict[str, Any] = {"size": "sm", "scale": 0, "interactive": False}
            self.make = gr.Button("Make the files", variant="primary", min_width=150, **options)
            self.stop = gr.Button("Stop", variant="stop", min_width=90, **options)
        self.said = Html(padding=False, elem_id="train-export")
        self.table = Html(idle(NO_RUN), padding=False, elem_id="train-files")
        with gr.Row(elem_classes="mw-own", elem_id="train-onward"):
            self.file = gr.Dropdown([], value=None, label="Open a file in another tab", min_width=220, scale=1)
            self.open = {p: gr.Button(words, size="sm", min_width=170, scale=0) for p, words in PLACES.items()}
        self.chosen = gr.State(("", ""))  # the run's id and the file's name
        self.outputs = [self.make, self.stop, self.said, self.table, self.file, *self.open.values(), self.chosen]
        self.offers = [
            Offer("onnx", button, self.chosen, self._with_samples if place == TO_CONVERT else self._give, place)
            for place, button in self.open.items()
        ]

    def sign(self, run: Run | None) -> str:
        """Return a string that changes whenever the output of ``show`` does."""
        return "" if run is None else f"{run.id} {stamp(run, BEST)} {files.stamps(run)}"

    def show(self, run: Run | None) -> Updates:
        if run is None or not stamp(run, BEST):
            return {self.table: idle(NO_RUN), self.chosen: ("", "")}
        record, rows = run.record(), files.rows(run)
        choices = view_export.choices(rows)
        first = choices[0][1] if choices else ""
        saved = partial(files.saved, run.id)
        table = view_export.table(rows, record.result, files.address(run.id), view.framework(record), saved)
        buttons = {o.button: gr.Button(visible=o.taken) for o in self.offers}
        return buttons | {
            self.table: table or idle(view_export.NOTHING),
            self.file: gr.Dropdown(choices, value=first or None),
            self.chosen: (run.id, first),
        }

    def connect(self, refresh: Refresh, everything: list[Any]) -> None:
        shared = self.shared
        inputs: list[Any] = [shared.subject, shared.key]

        def make(wanted: list[str], opened: Subject, key: str, http: gr.Request) -> Updates:
            targets = [target for target, title in view_export.TITLES.items() if title in (wanted or ())]
            if not targets:
                return {self.make: ON, self.said: idle("Choose a file to make.")}
            return self.export(targets, opened, key, http, refresh)

        def stop(opened: Subject, key: str, http: gr.Request) -> Updates:
            owner, state = shared.owner(key, http), shared.state(http, opened)
            self.exports.stop(shared.chosen_run(owner, state.subject).id, wait=5)
            return refresh(owner, state, http, state.seen)

        def choose(file: str | None, chosen: tuple[str, str]) -> tuple[str, str]:
            return chosen[0], file or ""

        immediate: dict[str, Any] = QUIET | {"queue": False}
        self.make.click(None, None, self.make, js=BUSY, **immediate)
        self.make.click(make, [self.targets, *inputs], everything, **immediate)
        self.stop.click(None, None, self.stop, js=BUSY, **immediate)
        self.stop.click(stop, inputs, everything, **immediate)
        self.file.input(choose, [self.file, self.chosen], self.chosen, trigger_mode="always_last", **immediate)

    def export(self, targets: list[str], opened: Subject, key: str, http: gr.Request, refresh: Refresh) -> Updates:
        """Start an export, or join the one that is running. The page's timer then shows the progress."""
        shared = self.shared
        owner, state = shared.owner(key, http), shared.state(http, opened)
        try:
            self.exports.start(shared.chosen_run(owner, state.subject), targets)
        except WorkbenchError as error:
            raise gr.Error(error.message, print_exception=False) from None
        return refresh(owner, state, http, state.seen)

    def sign_progress(self, run: Run | None) -> str:
        """Return a string that changes whenever the output of ``show_progress`` does."""
        if run is None or (job := self.exports.of(run.id)) is None:
            return "" if run is None else run.id
        return (
            f"{run.id} {id(job)} {job.progress.stage} {job.progress.share} {'ended' if job.done.is_set() else 'under way'}"
        )

    def show_progress(self, run: Run | None) -> Updates:
        """Return the updates for the progress of the run's export, or for its error."""
        job = self.exports.of(run.id) if run is not None else None
        if job is None:
            return {self.make: ON if run is not None and stamp(run, BEST) else OFF, self.stop: OFF, self.said: ""}
        if not job.done.is_set():
            return {self.make: OFF, self.stop: ON, self.said: progress(job.progress.stage, job.progress.share)}
        return {self.make: ON, self.stop: OFF, self.said: failed(job.error, "not made") if job.error else ""}

    def was_busy(self, run: Run | None, sign: str) -> bool:
        """Return whether an export of the run was running according to an earlier ``sign_progress``."""
        return run is not None and sign.startswith(run.id) and sign.endswith(" under way")

    def busy(self, run: Run | None) -> bool:
        return run is not None and (job := self.exports.of(run.id)) is not None and not job.done.is_set()

    def _give(self, chosen: tuple[str, str]) -> list[str]:
        path = self._path(chosen)
        if path is None:
            raise gr.Error("This file is no longer available. Make it again.", print_exception=False)
        return [str(path)]

    def _path(self, chosen: tuple[str, str]) -> Path | None:
        try:
            return files.made(self.shared.trainer.find(chosen[0]), chosen[1])
        except WorkbenchError:
            return None

    def _with_samples(self, chosen: tuple[str, str]) -> list[str]:
        """Return the model file and the run's validation and test pictures, with which the Convert tab checks its result."""
        paths = self._give(chosen)
        try:
            return [*paths, *files.samples_of(self.shared.trainer, self.shared.trainer.find(chosen[0]))]
        except WorkbenchError as error:
            gr.Warning(f"The model was opened without samples. {error.message}")
            return paths
