"""The source part of the page: inputs for files or a name, and a card that describes the source."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from web import handover
from web.cards import idle
from web.html import Html

from . import view, view_source
from .page_shared import Shared, Updates
from .subject import WHOLE, Opened, Samples
from .view_shared import PICK, label

EXAMPLES = {  # sources to try, with their labels
    "torchvision:mobilenet_v3_small": "MobileNetV3",
    "torchvision:resnet18": "ResNet-18",
    "diffusers:tiny-scenes": "Stable Diffusion, small",
    "diffusers:tiny-scenes/unet": "UNet of Stable Diffusion, small",
    "jax:attention": "JAX attention",
}
GONE = "This model is no longer available. Make it again."


class Source:
    """The inputs are rendered where it is created, the card by ``build_card``."""

    def __init__(self, shared: Shared) -> None:
        names = [name for group in shared.converter.names().values() for name in group]
        self.files = gr.File(
            label="Model (one file, or all of its files)", file_count="multiple", type="filepath", height=150
        )
        self.name = gr.Dropdown(
            [("–", ""), *((label(name), name) for name in names)],  # Enter in an empty box selects the first choice
            value=None,
            label="Or an architecture by name",
            info="choose or type a name; it gets the weights you drop above, or random ones",
            allow_custom_value=True,
            elem_id="convert-name",
        )
        self.samples = [sample for sample in EXAMPLES if sample in names]
        self.examples = gr.Dataset(
            components=[gr.Textbox(visible=False)],
            samples=[[sample] for sample in self.samples],
            sample_labels=[EXAMPLES[sample] for sample in self.samples],
            type="index",
            label="Or try an example",
            elem_id="convert-examples",
        )

    def build_card(self) -> None:
        self.about = Html(idle(view.IDLE), padding=False, elem_id="convert-about", js_on_load=PICK)

    def resolve(
        self, paths: list[str] | None, called: str | None, fresh: str
    ) -> tuple[list[str] | None, str | None, Updates]:
        """Return the files and the name to open, and updates of the two boxes. ``fresh``: the input that changed.

        A name and a whole model exclude each other: the older input is cleared. Otherwise the boxes are not updated, since
        the visitor may be editing them.
        """
        updates: Updates = {self.files: None, self.name: called} if fresh == "example" else {}
        if called and any(Path(p).suffix.lower() in WHOLE for p in paths or []):
            updates = {self.files: None} if fresh == "name" else {self.name: None}
            paths, called = (None, called) if fresh == "name" else (paths, None)
        return paths, called, updates

    def show(self, now: Opened) -> Updates:
        return {self.about: view_source.about(now.about, now.source.name or next(iter(now.source.files), ""))}

    def restore(self, now: Opened) -> Updates:
        """Return the updates that fill the two boxes with the inputs of the source."""
        return {self.files: [str(path) for path in now.source.files.values()] or None, self.name: now.source.name or None}

    async def from_other_tab(self, paths: list[str]) -> tuple[list[str], Samples | None]:
        """Return the model files and the samples handed over by another tab (``web/handover.py``).

        They are copied to gradio's uploads, which gradio cleans up. Raises gr.Error if a file is gone.
        """
        try:
            copies = [await asyncio.to_thread(save_file_to_cache, path, self.files.GRADIO_CACHE) for path in paths]
            preprocessing_files = [p for p in copies if Path(p).name == handover.PREPROCESSING]
            preprocessing: Any = (
                json.loads(await asyncio.to_thread(Path(preprocessing_files[0]).read_text)) if preprocessing_files else {}
            )
        except (OSError, ValueError):
            raise gr.Error(GONE, print_exception=False) from None
        samples_path = next((p for p in copies if Path(p).name == handover.SAMPLES), None)
        model = [p for p in copies if Path(p).name not in (handover.SAMPLES, handover.PREPROCESSING)]
        return model, Samples(samples_path, preprocessing) if samples_path else None
