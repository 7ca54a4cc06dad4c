"""The metadata part of the page: edits the metadata of the open TensorFlow Lite file and opens the changed copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from web.cards import failed, idle
from web.folders import plain
from web.html import Html

from . import view_tflite
from .page_shared import Shared, Updates, Values, report_of, require_open
from .subject import Subject

TEXTS = {"name": "Name", "version": "Version", "author": "Author", "license": "Licence", "description": "Description"}
HINT = "one number, or three for red, green and blue"


class MetadataForm:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.card = Html(idle(view_tflite.NOTHING), padding=False, elem_id="onnx-metadata")
        with gr.Row():
            with gr.Column(min_width=260):
                self.texts = {k: gr.Textbox(label=words, lines=3 if k == "description" else 1) for k, words in TEXTS.items()}
            with gr.Column(min_width=260):
                self.labels = gr.Textbox(
                    label="Labels", lines=8, max_lines=12, info="one per line, in the order of the output scores"
                )
                with gr.Row():
                    options: dict[str, Any] = {"placeholder": "127.5", "min_width": 120}
                    self.mean = gr.Textbox(label="Mean", info="one number, or three", **options)
                    self.std = gr.Textbox(label="Std", info="one number, or three", **options)
        with gr.Row():
            self.write = gr.Button("Write metadata", variant="primary", scale=2, min_width=150, interactive=False)
            self.download = gr.DownloadButton("Download .tflite", interactive=False, scale=1, min_width=150)
        self.note = Html(padding=False, elem_id="onnx-written")
        self.form = [*self.texts.values(), self.labels, self.mean, self.std]
        self.outputs = [self.card, *self.form, self.write, self.download, self.note]

    def show(self, report: dict[str, Any]) -> Updates:
        cleared: Updates = {self.note: "", self.download: gr.DownloadButton(value=None, interactive=False)}
        if report["format"] != "tflite":
            empty: Updates = dict.fromkeys(self.form, "")
            return cleared | empty | {self.card: idle(view_tflite.NOTHING), self.write: gr.Button(interactive=False)}
        values = dict(zip(self.form, texts(report["metadata"] or {}), strict=True))
        return cleared | values | {self.card: view_tflite.metadata(report), self.write: gr.Button(interactive=True)}

    def connect(self, opening: Any, summary: gr.HTML, files: gr.File, everything: list[Any]) -> None:
        """Connect the handlers. ``opening`` follows a job and yields the updates of the whole page for its model.

        ``files`` is cleared, since it does not hold the new copy.
        """
        shared, bench = self.shared, self.shared.bench

        async def write(before: Subject | None, http: gr.Request, *given: str) -> Values:
            model = require_open(before, "Open a .tflite first.")
            folder, name = bench.folders.new(), f"{stem(model.member or model.name)}.tflite"
            now = Subject(str(Path(folder) / name), name, out=folder)
            try:
                changed = changes((await report_of(model))["metadata"] or {}, given)
            except WorkbenchError as error:
                now.close()
                yield {self.note: failed(error, "not written")}
                return
            async for values in opening(
                now, before, lambda: bench.edit(model, changed, now.model, folder), http, "not written"
            ):
                if shared.subject in values:
                    button = gr.DownloadButton(value=plain(folder, name), interactive=True)
                    yield values | {files: None, self.note: view_tflite.written(name), self.download: button}
                else:  # progress or an error: shown next to the form, so that the summary stays
                    yield {self.note: values[summary]}

        shared.on([self.write.click], write, [shared.subject, *self.form], everything)


def texts(found: dict[str, Any]) -> list[str]:
    """Return the metadata as the texts of the form's fields."""
    numbers = [", ".join(f"{v:g}" for v in found.get(name, [])) for name in ("mean", "std")]
    return [*(found.get(name, "") for name in TEXTS), "\n".join(found.get("labels", [])), *numbers]


def changes(before: dict[str, Any], given: Sequence[str | None]) -> dict[str, Any]:
    """Return the fields of the form that differ from the file.

    Raises InvalidFile if none does, and InvalidValue for a mean or std that is not a number.
    """
    names = [*TEXTS, "labels", "mean", "std"]
    changed: dict[str, Any] = {}
    for name, old, new in zip(names, texts(before), (value or "" for value in given), strict=True):
        if new.strip() == old.strip():
            continue
        parse = {"labels": lines, "mean": numbers, "std": numbers}.get(name)
        changed[name] = parse(name, new) if parse else new
    if not changed:
        raise InvalidFile("Nothing has changed. Edit at least one field first.")
    return changed


def lines(name: str, text: str) -> list[str]:
    """Split labels at line ends. Trailing blank lines are dropped."""
    return [line.strip() for line in text.rstrip().splitlines()]


def numbers(name: str, text: str) -> list[float]:
    """Parse numbers, such as ``127.5`` or ``123.7, 116.3, 103.5``. Raises InvalidValue."""
    try:
        return [float(part) for part in text.replace(";", ",").replace(" ", ",").split(",") if part]
    except ValueError:
        raise InvalidValue(name, text, HINT) from None


def stem(name: str) -> str:
    """Return the stem of a visitor's file name with only safe characters."""
    return "".join(c if c.isalnum() or c in "-_. " else "-" for c in Path(name).stem)[:100].strip(". ") or "model"
