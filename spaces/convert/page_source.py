"""The source on the page: files or a name in, a card that says what it is."""

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

EXAMPLES = {  # sources for a first look, by what a visitor calls them
    "torchvision:mobilenet_v3_small": "MobileNetV3",
    "torchvision:resnet18": "ResNet-18",
    "diffusers:tiny-scenes": "Stable Diffusion, small",
    "diffusers:tiny-scenes/unet": "UNet of Stable Diffusion, small",
    "jax:attention": "JAX attention",
}
GONE = "This model is no longer available. Make it again."


class Source:
    """``build`` puts the inputs into one column, ``build_card`` the card into another."""

    def __init__(self, shared: Shared) -> None:
        names = [name for group in shared.converter.names().values() for name in group]
        self.files = gr.File(
            label="Model (one file, or all of its files)", file_count="multiple", type="filepath", height=150
        )
        self.name = gr.Dropdown(
            [("–", ""), *((label(name), name) for name in names)],  # Enter in an empty box takes the first
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
        """Files and name to open, and updates of the two boxes; ``fresh`` is what the visitor has just given.

        A name and a whole model exclude each other: the older one is cleared. The boxes are not written otherwise, since
        the visitor may be changing them.
        """
        again: Updates = {self.files: None, self.name: called} if fresh == "example" else {}
        if called and any(Path(p).suffix.lower() in WHOLE for p in paths or []):
            again = {self.files: None} if fresh == "name" else {self.name: None}
            paths, called = (None, called) if fresh == "name" else (paths, None)
        return paths, called, again

    def show(self, now: Opened) -> Updates:
        return {self.about: view_source.about(now.about, now.source.name or next(iter(now.source.files), ""))}

    def restore(self, now: Opened) -> Updates:
        """Fills the two boxes with what the source was opened from."""
        return {self.files: [str(path) for path in now.source.files.values()] or None, self.name: now.source.name or None}

    async def from_other_tab(self, paths: list[str]) -> tuple[list[str], Samples | None]:
        """Files of another tab, and samples among them (``web/handover.py``): copies among gradio's uploads, which it
        removes in time like them. Raises gr.Error."""
        try:
            kept = [await asyncio.to_thread(save_file_to_cache, path, self.files.GRADIO_CACHE) for path in paths]
            described = [p for p in kept if Path(p).name == handover.PREPROCESSING]
            how: Any = json.loads(await asyncio.to_thread(Path(described[0]).read_text)) if described else {}
        except (OSError, ValueError):
            raise gr.Error(GONE, print_exception=False) from None
        real = next((p for p in kept if Path(p).name == handover.SAMPLES), None)
        model = [p for p in kept if Path(p).name not in (handover.SAMPLES, handover.PREPROCESSING)]
        return model, Samples(real, how) if real else None
