"""The files of the shown run: made by a click, one target after another, kept with the run, handed to other tabs."""

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
        # the choices are titles: gradio gives each box its value as a name, which is read aloud
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
        """Changes whenever ``show`` would."""
        return "" if run is None else f"{run.id} {stamp(run, BEST)} {files.stamps(run)}"

    def show(self, run: Run | None) -> Updates:
        if run is None or not stamp(run, BEST):
            return {self.table: idle(NO_RUN), self.chosen: ("", "")}
        record, rows = run.record(), files.rows(run)
        found = view_export.choices(rows)
        first = found[0][1] if found else ""
        saved = partial(files.saved, run.id)
        table = view_export.table(rows, record.result, files.address(run.id), view.framework(record), saved)
        taken = {o.button: gr.Button(visible=o.taken) for o in self.offers}
        return taken | {
            self.table: table or idle(view_export.NOTHING),
            self.file: gr.Dropdown(found, value=first or None),
            self.chosen: (run.id, first),
        }

    def connect(self, refresh: Refresh, everything: list[Any]) -> None:
        shared = self.shared
        given: list[Any] = [shared.subject, shared.key]

        def make(wanted: list[str], opened: Subject, key: str, http: gr.Request) -> Updates:
            some = [target for target, title in view_export.TITLES.items() if title in (wanted or ())]
            if not some:
                return {self.make: ON, self.said: idle("Choose a file to make.")}
            return self.export(some, opened, key, http, refresh)

        def stop(opened: Subject, key: str, http: gr.Request) -> Updates:
            owner, state = shared.owner(key, http), shared.state(http, opened)
            self.exports.stop(shared.chosen_run(owner, state.subject).id, wait=5)
            return refresh(owner, state, http, state.seen)

        def choose(file: str | None, chosen: tuple[str, str]) -> tuple[str, str]:
            return chosen[0], file or ""

        at_once: dict[str, Any] = QUIET | {"queue": False}
        self.make.click(None, None, self.make, js=BUSY, **at_once)
        self.make.click(make, [self.targets, *given], everything, **at_once)
        self.stop.click(None, None, self.stop, js=BUSY, **at_once)
        self.stop.click(stop, given, everything, **at_once)
        self.file.input(choose, [self.file, self.chosen], self.chosen, **at_once)

    def export(self, targets: list[str], opened: Subject, key: str, http: gr.Request, refresh: Refresh) -> Updates:
        """Starts it, or finds the one that is under way; from then on the page's timer shows how far it is."""
        shared = self.shared
        owner, state = shared.owner(key, http), shared.state(http, opened)
        try:
            self.exports.start(shared.chosen_run(owner, state.subject), targets)
        except WorkbenchError as error:
            raise gr.Error(error.message, print_exception=False) from None
        return refresh(owner, state, http, state.seen)

    def sign_progress(self, run: Run | None) -> str:
        """Changes whenever ``show_progress`` would."""
        if run is None or (one := self.exports.of(run.id)) is None:
            return "" if run is None else run.id
        return (
            f"{run.id} {id(one)} {one.progress.stage} {one.progress.share} {'ended' if one.done.is_set() else 'under way'}"
        )

    def show_progress(self, run: Run | None) -> Updates:
        """Of the run's export: how far it is, or what it ended with."""
        one = self.exports.of(run.id) if run is not None else None
        if one is None:
            return {self.make: ON if run is not None and stamp(run, BEST) else OFF, self.stop: OFF, self.said: ""}
        if not one.done.is_set():
            return {self.make: OFF, self.stop: ON, self.said: progress(one.progress.stage, one.progress.share)}
        return {self.make: ON, self.stop: OFF, self.said: failed(one.error, "not made") if one.error else ""}

    def was_busy(self, run: Run | None, sign: str) -> bool:
        """Whether an export of the same run was under way by an earlier ``sign_progress``."""
        return run is not None and sign.startswith(run.id) and sign.endswith(" under way")

    def busy(self, run: Run | None) -> bool:
        return run is not None and (one := self.exports.of(run.id)) is not None and not one.done.is_set()

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
        """Also the run's validation and test pictures, which judge what is made of the model."""
        found = self._give(chosen)
        try:
            return [*found, *files.samples_of(self.shared.trainer, self.shared.trainer.find(chosen[0]))]
        except WorkbenchError as error:
            gr.Warning(f"The model was opened without samples. {error.message}")
            return found
