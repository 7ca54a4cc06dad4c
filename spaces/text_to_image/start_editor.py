"""The start picture of image to image on the page: an editor to drop it into and to paint its mask.

Gradio would open what a visitor sends in the server's own process; here the files go to a child process unopened.
"""

from __future__ import annotations

from abc import ABCMeta
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.components.image_editor import EditorData

from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import STRENGTH
from lib.text_to_image.start_picture_reader import StartPictureReader
from web.html import Html, html

from .start import start_picture

BRUSH = "rgba(234, 88, 12, 0.75)"  # the mask while it is painted; only where it is counts
HINT = "Paint over a part to draw only that part anew; without paint all of it changes. The trash can removes the picture."


def _unopened(editor: gr.ImageEditor, payload: EditorData | None) -> list[Path]:
    """The files that the browser sent: the picture, then the layer that was painted on, if any."""
    if payload is None or payload.background is None:
        return []
    return [Path(file.path) for file in (payload.background, *payload.layers[:1])]


# A subclass, since gradio makes the component anew for a session; past gradio's own metaclass, which would write a file
# of stubs beside this one; of the same name, by which the browser knows what to draw. Its second way of sending, which
# keeps whatever anybody sends in memory, is closed.
CHANGED = {"preprocess": _unopened, "accept_blobs": None}
Editor: Any = ABCMeta.__new__(type(gr.ImageEditor), "ImageEditor", (gr.ImageEditor,), CHANGED)


class StartEditor:
    def __init__(self, reader: StartPictureReader) -> None:
        self.reader = reader

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
        Html(html('<p class="mw-hint">{}</p>', HINT), padding=False)
        self.strength = gr.Slider(
            0.05, 1, STRENGTH, step=0.05, label="Strength", info="How much changes: at 1 nothing of the picture is left"
        )

    @property
    def inputs(self) -> list[Component]:
        return [self.editor, self.strength]

    async def add(self, request: Request, files: list[Path], strength: float) -> Request:
        """``request`` with the picture that the editor holds, if any. Raises what ``start_picture`` raises."""
        if not files:
            return request
        start = await start_picture(self.reader, *files, strength=strength, strokes=True)
        if start.mask is not None and not any(start.mask):  # nothing was painted: all of it changes
            start = replace(start, mask=None, mask_digest="")
        return replace(request, start=start)

    def take(self, path: Path) -> dict[Component, Any]:
        """The editor with one of the visitor's own pictures. An event that may leave the editor as it is must not have it
        among its outputs: gradio then makes it anew, and what was painted but not sent yet is lost."""
        return {self.editor: {"background": str(path), "layers": [], "composite": str(path)}}
