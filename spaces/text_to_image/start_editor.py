"""The start picture of image to image on the page: an editor to drop it into and to paint its mask.

Gradio would open what a visitor sends in the server's own process; here the files go to a child process unopened.
"""

from __future__ import annotations

import tempfile
from abc import ABCMeta
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.components.image_editor import EditorData
from gradio.data_classes import FileData

from lib.text_to_image.intake import Intake
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import STRENGTH, StartPicture

from .start import start_picture

BRUSH = "rgba(234, 88, 12, 0.75)"  # the mask while it is painted; only where it is counts
HINT = "Paint over a part to draw only that part anew; without paint all of it changes. The trash can removes the picture."


def _unopened(editor: gr.ImageEditor, payload: EditorData | None) -> dict[str, Any] | None:
    """Files, or bytes where the browser sent these."""
    if payload is None:
        return None
    found: Any = editor.blob_storage.pop(payload.id, None) if payload.id is not None else payload
    return {"background": found.background, "layers": [one for one in found.layers if one]} if found else None


# A subclass, since gradio makes the component anew for a session; past gradio's own metaclass, which would write a file
# of stubs beside this one; of the same name, by which the browser knows what to draw.
Editor: Any = ABCMeta.__new__(type(gr.ImageEditor), "ImageEditor", (gr.ImageEditor,), {"preprocess": _unopened})


class StartEditor:
    def __init__(self, intake: Intake) -> None:
        self.intake = intake

    def build(self) -> None:
        self.editor = Editor(
            label="Start picture",
            type="filepath",
            format="png",
            sources=("upload", "clipboard"),
            transforms=(),
            layers=False,
            brush=gr.Brush(colors=[BRUSH], default_color=BRUSH, color_mode="fixed"),
            canvas_size=(512, 512),
            height=420,
            placeholder="Drop a picture here\nor click to choose one",
            buttons=[],
            elem_id="start",
        )
        gr.HTML(f'<p class="mw-hint">{HINT}</p>', padding=False)
        self.strength = gr.Slider(
            0.05, 1, STRENGTH, step=0.05, label="Strength", info="How much changes: at 1 nothing of the picture is left"
        )

    @property
    def inputs(self) -> list[Component]:
        return [self.editor, self.strength]

    async def add(self, request: Request, given: dict[str, Any] | None, strength: float) -> Request:
        """``request`` with the picture that the editor holds, if any. Raises what ``start_picture`` raises."""
        if not given or not given["background"]:
            return request
        with tempfile.TemporaryDirectory(prefix="workbench-start-", ignore_cleanup_errors=True) as folder:
            image = _file(given["background"], Path(folder) / "image")
            layers = [_file(layer, Path(folder) / f"layer-{k}") for k, layer in enumerate(given["layers"])]
            mask = layers[0] if layers else None
            start = await start_picture(self.intake, image, mask, strength=strength, strokes=True)
        return replace(request, start=_painted(start))

    def take(self, path: Path) -> dict[Component, Any]:
        """The editor with one of the visitor's own pictures. An event that may leave the editor as it is must not have it
        among its outputs: gradio then makes it anew, and what was painted but not sent yet is lost."""
        return {self.editor: {"background": str(path), "layers": [], "composite": str(path)}}


def _file(given: FileData | bytes, place: Path) -> Path:
    if isinstance(given, FileData):
        return Path(given.path)
    place.write_bytes(given)
    return place


def _painted(start: StartPicture) -> StartPicture:
    """An editor always has a layer: one on which nothing was painted is no mask."""
    return replace(start, mask=None, mask_digest="") if start.mask is not None and not any(start.mask) else start
