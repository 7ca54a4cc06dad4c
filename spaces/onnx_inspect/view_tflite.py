"""What only a TensorFlow Lite report has: tensors, signatures, metadata."""

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
    """In the file's order."""
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
    """One line each: its key, what it takes and gives, and its MACs."""
    if not report["signatures"]:
        return NO_SIGNATURES
    lines = []
    for one in report["signatures"]:
        sides = [
            ", ".join(f"{v['name']} {v['dtype']} {shape_text(v['shape'])}" for v in one[s]) for s in ("inputs", "outputs")
        ]
        left = "" if one["run"] else "; not run: it duplicates another signature or has inputs that are not tensors"
        lines.append(html("<p><b>{}</b> inputs: {}; outputs: {}{}</p>", code(one["key"]), *sides, left))
    return card(Markup("<h3>Signatures</h3>"), *lines)


def metadata(report: dict[str, Any]) -> Markup:
    """What the file says of inputs, outputs and associated files; its texts stand in the form."""
    found = report["metadata"]
    if found is None:
        return idle(UNREADABLE)
    there = chip("metadata", "ok") if found["present"] else chip("no metadata")
    lines = [html('<p class="mw-verdict">{} {}</p>', there, report["file"]["name"])]
    lines += [html("<p>{} {}</p>", chip("warning", "warning"), words) for words in found["problems"]]
    notes = [(side[:-1], note) for side in ("inputs", "outputs") for note in found[side][:40]]
    rows = join(row(side, code(note["name"]), _note(note)) for side, note in notes)
    lines.append(html('<div class="mw-scroll"><table class="mw-plain mw-described">{}</table></div>', rows))
    if found["files"]:
        files = ", ".join(f"{f['name']} ({size(f['bytes'])})" for f in found["files"])
        lines.append(html("<p>Associated files: {}</p>", files))
    return card(*lines)


def _note(note: dict[str, Any]) -> str:
    said = [note["content"] or "content unknown"]
    if note["range"]:
        said.append(f"{note['range'][0]:g} to {note['range'][1]:g}")
    return ", ".join(said) + (f": {note['description']}" if note["description"] else "")


def written(name: str) -> Markup:
    return card(chip("written", "ok"), f" {name} is now the open model.")


CSS = """
.mw-described td:last-child { white-space: normal; } .mw-described code { white-space: nowrap; }
.mw-top td:last-child { font-variant-numeric: tabular-nums; text-align: right; }
"""
