"""Render the parts that only a TensorFlow Lite report has: tensors, signatures and metadata."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from lib.reports.words import shape_text, size
from lib.tflite_inspect.report import quantised
from web.cards import card, chip, idle
from web.html import code, html, join, row

from .view import MAX_ROWS, part

TENSOR_COLUMNS = ["#", "name", "kind", "dtype", "shape", "quantisation", "kB"]
TENSOR_WIDTHS = ["56px", "220px", "115px", "90px", "180px", "340px", "100px"]
NOTHING = Markup("Only TensorFlow Lite files have metadata. Open a <b>.tflite</b> to view and edit it.")
NO_SIGNATURES = Markup(
    '<p class="mw-graph-line">The file has no signatures. Inputs and outputs are named after their tensors.</p>'
)
UNREADABLE = "The metadata cannot be read. What you write here replaces it."


def tensors(report: dict[str, Any]) -> pd.DataFrame:
    """Return the table of tensors, in the order of the file."""
    rows = [
        [
            t["index"],
            t["name"],
            t["kind"],
            t["dtype"] + (", sparse" if t["sparse"] else ""),
            shape_text(t["shape"]),
            quantised(t["quantization"]),
            part(t["bytes"], 1e3),
        ]
        for t in report["tensors"][:MAX_ROWS]
    ]
    return pd.DataFrame(rows, columns=TENSOR_COLUMNS)


def signatures(report: dict[str, Any]) -> Markup:
    """Return one line per signature: its key, inputs and outputs, and whether it can be run."""
    if not report["signatures"]:
        return NO_SIGNATURES
    lines = []
    for signature in report["signatures"]:
        sides = [
            ", ".join(f"{v['name']} {v['dtype']} {shape_text(v['shape'])}" for v in signature[s])
            for s in ("inputs", "outputs")
        ]
        note = "" if signature["run"] else "; not run: it duplicates another signature or has inputs that are not tensors"
        lines.append(html("<p><b>{}</b> inputs: {}; outputs: {}{}</p>", code(signature["key"]), *sides, note))
    return card(Markup("<h3>Signatures</h3>"), *lines)


def metadata(report: dict[str, Any]) -> Markup:
    """Return the card of the metadata of inputs, outputs and associated files. The form shows the other texts."""
    data = report["metadata"]
    if data is None:
        return idle(UNREADABLE)
    status = chip("metadata", "ok") if data["present"] else chip("no metadata")
    lines = [html('<p class="mw-verdict">{} {}</p>', status, report["file"]["name"])]
    lines += [html("<p>{} {}</p>", chip("warning", "warning"), problem) for problem in data["problems"]]
    notes = [(side[:-1], note) for side in ("inputs", "outputs") for note in data[side][:40]]
    rows = join(row(side, code(note["name"]), _note(note)) for side, note in notes)
    lines.append(html('<div class="mw-scroll"><table class="mw-plain mw-described">{}</table></div>', rows))
    if data["files"]:
        files = ", ".join(f"{f['name']} ({size(f['bytes'])})" for f in data["files"])
        lines.append(html("<p>Associated files: {}</p>", files))
    return card(*lines)


def _note(note: dict[str, Any]) -> str:
    parts = [note["content"] or "content unknown"]
    if note["range"]:
        parts.append(f"{note['range'][0]:g} to {note['range'][1]:g}")
    return ", ".join(parts) + (f": {note['description']}" if note["description"] else "")


def written(name: str) -> Markup:
    return card(chip("written", "ok"), f" {name} is now the open model.")


CSS = """
.mw-described td:last-child { white-space: normal; } .mw-described code { white-space: nowrap; }
.mw-top td:last-child { font-variant-numeric: tabular-nums; text-align: right; }
"""
