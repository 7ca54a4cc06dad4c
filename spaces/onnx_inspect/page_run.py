"""The run part of the page: runs the open model on random inputs or on the visitor's own, with a preview."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from web.cards import failed
from web.folders import plain
from web.html import Html

from . import view_run
from .page_shared import QUIET, Shared, Updates, Values, report_of, require_open, save, table
from .subject import RUNS, Subject, parse_samples, parse_sizes, parse_values, whole_number

KINDS = [".npz", ".npy", ".zip", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".wav", ".txt"]


class Run:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Row():
            self.seed = gr.Number(0, label="Seed", precision=0, info="for random inputs", min_width=120)
            self.runs = gr.Number(RUNS, label="Timed runs", precision=0, info="1 to 1000", min_width=120)
            self.sizes = gr.Textbox(
                label="Sizes of dynamic dimensions", placeholder="batch=8", info="empty: chosen automatically", min_width=160
            )
        with gr.Accordion("Your own inputs", open=False), gr.Row():
            with gr.Column(min_width=260):
                self.file = gr.File(
                    label="A picture, .wav, .txt, .npy, .npz, or a .zip of pictures",
                    type="filepath",
                    file_types=KINDS,
                    height=150,
                    elem_id="onnx-samples",
                )
                self.preview = Html(padding=False, elem_id="onnx-preview")
            with gr.Column(min_width=260):
                self.preprocessing = gr.Textbox(
                    label="Preprocessing of pictures",
                    placeholder="size=224, normalization=imagenet",
                    info="size, normalization, channels, layout, crop; what you leave out is guessed",
                )
                self.typed = gr.Textbox(label="Or values as JSON", lines=3, placeholder='{"X": [[1, 2, 3, 4]]}')
        with gr.Row():
            self.start = gr.Button("Run", variant="primary", scale=2)
            self.download = gr.DownloadButton("Outputs (.npz)", interactive=False, scale=1)
        self.outcome = Html(padding=False, elem_id="onnx-outcome")
        self.times = gr.BarPlot(
            x="node",
            y="ms",
            color="operator",
            title="Where the time goes: slowest nodes",
            sort=None,
            x_label_angle=-30,
            height=300,
            visible=False,
        )
        columns = ["str", "str", *["number"] * 5]
        self.profile = table(view_run.PROFILE_COLUMNS, columns, "Profile, slowest first", visible=False)
        self.results = [self.outcome, self.times, self.profile, self.download]
        self.outputs = [*self.results, self.sizes, self.file, self.preview, self.preprocessing, self.typed]

    def show(self) -> Updates:
        """Return the updates for a model that was just opened: no result and no inputs."""
        inputs = {self.file: None, self.preview: "", self.preprocessing: "", self.typed: ""}
        return self.no_result() | inputs | {self.sizes: ""}

    def no_result(self, words: str = "") -> Updates:
        no_file = gr.DownloadButton(value=None, interactive=False)
        no_table = gr.Dataframe(value=None, visible=False)
        return {self.outcome: words, self.times: gr.BarPlot(visible=False), self.profile: no_table, self.download: no_file}

    def result(self, now: Subject, found: dict[str, Any]) -> Updates:
        rows, file = view_run.profile_table(found), plain(now.out, "outputs.npz")
        return {
            self.outcome: view_run.result(found),
            self.times: gr.BarPlot(view_run.profile_plot(found), visible=len(rows) > 0),
            self.profile: gr.Dataframe(value=rows, visible=len(rows) > 0),
            self.download: gr.DownloadButton(value=file, interactive=file is not None),
        }

    def connect(self, reports: list[Any]) -> None:
        """Connect the handlers. ``reports``: the download buttons of the report files, to which a run is added."""
        shared = self.shared

        async def run_open(
            seed: float,
            runs: float,
            words: str,
            path: str | None,
            how: str,
            typed: str,
            now: Subject | None,
            http: gr.Request,
        ) -> Values:
            model = require_open(now, "Open or build a model first.")
            try:
                whole_arrays = path if path and path.lower().endswith(".npz") else None
                samples_path = None if whole_arrays else path
                values, sizes = parse_values(typed, path), parse_sizes(words)
                samples = parse_samples(samples_path, Path(samples_path or "").name, how if samples_path else "")
                numbers = whole_number("seed", seed, 0), whole_number("runs", runs, RUNS)
                submit = lambda: shared.bench.run(model, whole_arrays, *numbers, sizes, values, samples)  # noqa: E731
                async for answer in shared.follow("run", submit, http):
                    if isinstance(answer, str):
                        yield self.no_result(answer)
                        continue
                    report = await report_of(model) | {"run": answer}
                    paths = await asyncio.to_thread(save, model, report)
                    buttons = [gr.DownloadButton(value=report_path, interactive=True) for report_path in paths]
                    yield self.result(model, answer) | dict(zip(reports, buttons, strict=True))
            except WorkbenchError as error:
                yield self.no_result(failed(error, "no result", labels={"runs": "Timed runs"}))

        inputs = [self.seed, self.runs, self.sizes, self.file, self.preprocessing, self.typed, shared.subject]
        shared.on([self.start.click], run_open, inputs, [*self.results, *reports])
        self.file.change(view_run.preview, self.file, self.preview, **QUIET)
