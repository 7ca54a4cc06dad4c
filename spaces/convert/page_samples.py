"""The samples of real inputs with a preview, and the settings of the verification: sizes, seeds, minimum agreement."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from lib.convert.proof.quality import MIN_AGREEMENT
from lib.errors import WorkbenchError
from lib.jobs import Result
from lib.model_inputs.preprocessing import CHANNELS, CROPS, LAYOUTS, NORMALIZATIONS
from lib.model_inputs.sizes import parse
from web.cards import failed, progress
from web.html import Html, html

from . import view_source
from .option_values import seeds
from .page_shared import Shared, Updates, Values
from .subject import Opened, Samples, TabState

KINDS = ".npz or .npy of arrays (first axis: samples) · zip of pictures (its folders are labels) · one picture · .wav · .txt"
GUESSED = "How pictures become the input. These are guesses: change what is wrong."


class Inputs:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Accordion("Samples of real inputs", open=False, elem_id="convert-samples") as self.samples:
            self.file = gr.File(label="Samples", type="filepath", height=110, elem_id="convert-samples-file")
            Html(html('<p class="mw-help">{}</p>', KINDS), padding=False)
            self.preview = Html(padding=False, elem_id="convert-preview")
            with gr.Group(visible=False) as self.pictures:
                Html(html('<p class="mw-help">{}</p>', GUESSED), padding=False)
                with gr.Row():
                    size = gr.Textbox(label="Size", info="height x width, pixels", max_lines=1, min_width=120)
                    normalization = gr.Dropdown(list(NORMALIZATIONS), label="Normalization", info="of pixels", min_width=120)
                    crop = gr.Dropdown(list(CROPS), label="Fit", info="squash or crop", min_width=120)
                with gr.Row():
                    layout = gr.Dropdown(list(LAYOUTS), label="Layout", min_width=120)
                    channels = gr.Dropdown(list(CHANNELS), label="Channels", min_width=120)
        with gr.Accordion("Verification", open=False, elem_id="convert-proof"):
            self.sizes = gr.Textbox(label="Sizes of dynamic dimensions", max_lines=1)
            self.agreement = gr.Slider(
                0.5,
                1.0,
                MIN_AGREEMENT,
                step=0.01,
                label="Minimum agreement",
                info="float16 and int8: share of samples on which source and result must give the same answer",
            )
            self.seeds = gr.Textbox(
                label="Seeds", placeholder="0, 1, 2", max_lines=1, info="three or more whole numbers, for random test inputs"
            )
        self.fields = {"size": size, "layout": layout, "channels": channels, "normalization": normalization, "crop": crop}
        self.components = [self.file, self.sizes, self.agreement, self.seeds, *self.fields.values()]
        self.outputs = [self.samples, self.pictures, self.preview, *self.components]
        shared.visit.form(agreement=self.agreement, seeds=self.seeds)

    def show(self, now: Opened, samples: Samples | None = None) -> Updates:
        """Return the updates for a source that was just opened: the guessed preprocessing, and the samples handed over
        with it, if any."""
        guess = now.about.get("preprocessing")
        preprocessing = (guess or {}) | (samples.preprocessing if samples else {})
        dims = dict.fromkeys(d for v in now.about.get("inputs", []) for d in v["shape"] if isinstance(d, str))
        return {
            self.samples: gr.Accordion(visible=bool(now.about.get("inputs")), open=samples is not None),
            self.pictures: gr.Group(visible=samples is not None and _pictures(samples)),
            self.preview: view_source.samples(samples.seen) if samples and samples.seen else "",
            self.file: samples.path if samples else None,
            self.sizes: gr.Textbox(
                value="",
                visible=bool(dims),
                placeholder=", ".join(f"{d}=…" for d in dims)[:80],
                info=f"{', '.join(dims)[:200]}: found automatically where you give none",
            ),
        } | {field: _text(preprocessing.get(name)) for name, field in self.fields.items()}

    def read(self, now: Opened, data: dict[Any, Any]) -> Samples | None:
        """Return the samples in the form, with the preprocessing fields that differ from the guess."""
        path = data[self.file]
        if not path:
            return None
        guess = now.about.get("preprocessing") or {}  # empty: the model takes no pictures
        values = {name: data[field] for name, field in self.fields.items()} if guess else {}
        return Samples(path, {k: v for k, v in values.items() if v and v != _text(guess.get(k))})

    def options(self, samples: Samples | None, data: dict[Any, Any]) -> dict[str, Any]:
        """Return the options of the proof. Raises InvalidValue."""
        options: dict[str, Any] = {"min_agreement": data[self.agreement]}
        if samples is not None:
            options["samples"] = samples.path
            if samples.preprocessing:
                options["preprocessing"] = samples.preprocessing
        if (data[self.sizes] or "").strip():
            options["sizes"] = data[self.sizes]
        if (seed_list := seeds(data[self.seeds])) is not None:
            options["seeds"] = seed_list
        return options

    async def preview_samples(self, state: TabState, data: dict[Any, Any] | None, http: gr.Request) -> Values:
        """Read and show the samples of ``state``. If ``data``, the form, is not None, they are updated from it first."""
        if data is not None:
            state.samples = self.read(state.opened, data)
        if (samples := state.samples) is None:
            yield {self.preview: "", self.pictures: gr.Group(visible=False)}
            return
        try:
            sizes = parse((data or {}).get(self.sizes) or "")
            path, preprocessing = Path(samples.path), samples.preprocessing
            description = state.opened.about
            preview = self.shared.converter.preview
            job_events = self.shared.under_way.follow(
                "samples", lambda: preview(description, path, preprocessing, sizes), http
            )
            async with aclosing(job_events) as events:
                async for event in events:
                    if isinstance(event, Result):
                        samples.seen = event.value
                        updates = {self.pictures: gr.Group(visible=_pictures(samples))}
                        yield updates | {self.preview: view_source.samples(event.value)}
                    else:
                        yield {self.preview: progress(event.stage, event.share)}
        except WorkbenchError as error:
            yield {self.preview: failed(error, "not read")}


def _pictures(samples: Samples) -> bool:
    """Return whether the samples are known to be pictures. Arrays need no preprocessing."""
    return samples.seen is not None and samples.seen["kind"] == "pictures"


def _text(value: Any) -> str | None:
    """Format a guessed value for its field: [224, 224] -> 224x224."""
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else value
