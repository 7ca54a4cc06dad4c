"""The start picture of image to image: an editor to upload it and to paint its mask.

Gradio would decode uploaded images in the server process. Here the files are passed to a child process unopened.
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

BRUSH = "rgba(234, 88, 12, 0.75)"  # color of the painted mask; only its position matters
HINT = "Paint over a part to redraw only that part; without paint, everything changes. The trash can removes the picture."


def _unopened(editor: gr.ImageEditor, payload: EditorData | None) -> list[Path]:
    """Returns the uploaded files: the picture, then the painted layer, if any."""
    if payload is None or payload.background is None:
        return []
    return [Path(file.path) for file in (payload.background, *payload.layers[:1])]


# A subclass, since Gradio recreates the component for each session. It bypasses Gradio's metaclass, which would write a
# stub file next to this one, and has the same name, by which the browser selects the frontend component. Blob uploads,
# which are kept in memory, are disabled.
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
            0.05, 1, STRENGTH, step=0.05, label="Strength", info="How much changes: 1 replaces the whole picture"
        )

    @property
    def inputs(self) -> list[Component]:
        return [self.editor, self.strength]

    async def add(self, request: Request, files: list[Path], strength: float) -> Request:
        """Returns ``request`` with the picture in the editor, if any. Raises like ``start_picture``."""
        if not files:
            return request
        start = await start_picture(self.reader, *files, strength=strength, strokes=True)
        if start.mask is not None and not any(start.mask):  # nothing was painted: all of the picture changes
            start = replace(start, mask=None, mask_digest="")
        return replace(request, start=start)

    def take(self, path: Path) -> dict[Component, Any]:
        """Updates the editor with one of the visitor's own pictures.

        Events that may leave the editor unchanged must not have it among their outputs: Gradio then recreates it, and
        paint that was not sent yet is lost.
        """
        return {self.editor: {"background": str(path), "layers": [], "composite": str(path)}}
