"""The right side of the page: the stage, the caption and buttons below it, and the gallery. Independent of the engine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from lib.text_to_image.gallery import Gallery
from web.html import Html

from . import pictures, view, view_gallery, words
from .picture_sessions import Session
from .pictures import Picture

SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
Updates = dict[Component, Any]


class Stage:
    """``signature`` identifies the pictures in the page's gallery, so that it is only sent when they change."""

    def __init__(self, store: Gallery) -> None:
        self.store = store

    def build(self) -> None:
        self.frame = Html(view.idle(), padding=False, elem_id="stage", js_on_load=SCRIPT)
        self.about = Html(view.about(None), padding=False, elem_id="about", js_on_load=SCRIPT)
        self.parameters = gr.Textbox(
            label="Parameters",
            placeholder="Model, steps, scheduler, guidance, seed and size of the picture",
            lines=4,
            max_lines=4,
            interactive=False,
            buttons=["copy"],
            elem_id="parameters",
        )

    def build_gallery(self) -> None:
        shown = view_gallery.gallery([], self.store.hours)
        self.gallery = Html(shown, padding=False, elem_id="gallery", js_on_load=SCRIPT)
        self.signature = gr.State("")
        self.zip = gr.Textbox(visible=False)

    @property
    def outputs(self) -> list[Component]:
        return [self.frame, self.about, self.parameters, self.gallery, self.signature]

    def show(self, picture: Picture | None, ready: bool = False) -> Updates:
        """Returns updates that show one picture, or none, in the stage."""
        if picture is None:
            return {self.frame: view.idle(), self.about: view.about(None), self.parameters: ""}
        return {
            self.frame: view.finished(picture, ready),
            self.about: view.about(picture),
            self.parameters: words.parameters(picture.info),
        }

    def newest(self, key: str) -> Picture | None:
        """Returns the visitor's newest picture, which the stage shows by default."""
        return next(iter(pictures.of(self.store, key)[:1]), None)

    def gallery_of(self, key: str, signature: str) -> Updates:
        """Returns updates of the gallery, if its pictures differ from those of ``signature``."""
        now = self.sign(key)
        if now == signature:
            return {}
        return {self.gallery: view_gallery.gallery(pictures.of(self.store, key), self.store.hours), self.signature: now}

    def sign(self, key: str) -> str:
        names = "".join(path.name for path in self.store.pictures(key))
        return hashlib.sha256(names.encode()).hexdigest()

    def session(self, key: str, found: Session) -> Updates:
        """Returns updates that show the running pictures or, once all have ended, the results."""
        stored = {entry.name: entry for making in found.pictures if making.name and (entry := self._made(key, making.name))}
        if found.running:
            return {self.frame: view.under_way(found.pictures, stored), self.about: view.about(None), self.parameters: ""}
        if len(stored) > 1:
            caption = words.several(len(stored), found.seconds)
            return {
                self.frame: view.under_way(found.pictures, stored),
                self.about: view.about(None, caption),
                self.parameters: "",
            }
        if stored:
            return self.show(*stored.values(), ready=True)
        return self.show(self.newest(key))

    def _made(self, key: str, name: str) -> Picture | None:
        path = self.store.find(key, name)
        return pictures.picture(path) if path else None
