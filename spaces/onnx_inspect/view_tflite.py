"""What only a TensorFlow Lite report has: tensors, signatures, metadata. Everything foreign is escaped."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from lib.reports.words import shape_text, size
from lib.tflite_inspect.report import quantised
from web.cards import e, idle

from .view import MOST_ROWS, part

TENSOR_COLUMNS = ["#", "name", "kind", "dtype", "shape", "quantisation", "kB"]
TENSOR_WIDTHS = ["56px", "220px", "115px", "90px", "180px", "340px", "100px"]
NOTHING = Markup("Only TensorFlow Lite files have metadata. Open a <b>.tflite</b> to view and edit it.")
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
        for t in report["tensors"][:MOST_ROWS]
    ]
    return pd.DataFrame(rows, columns=TENSOR_COLUMNS)


def signatures(report: dict[str, Any]) -> str:
    """One line each: its key, what it takes and gives, and its MACs."""
    if not report["signatures"]:
        words = "The file has no signatures. Inputs and outputs are named after their tensors."
        return f'<p class="mw-graph-line">{words}</p>'
    lines = []
    for one in report["signatures"]:
        sides = [
            ", ".join(f"{v['name']} {v['dtype']} {shape_text(v['shape'])}" for v in one[s]) for s in ("inputs", "outputs")
        ]
        left = "" if one["run"] else "; not run: it duplicates another signature or has inputs that are not tensors"
        lines.append(f"<p><b><code>{e(one['key'])}</code></b> inputs: {e(sides[0])}; outputs: {e(sides[1])}{left}</p>")
    return f'<div class="mw-card"><h3>Signatures</h3>{"".join(lines)}</div>'


def metadata(report: dict[str, Any]) -> str:
    """What the file says of inputs, outputs and associated files; its texts stand in the form."""
    found = report["metadata"]
    if found is None:
        return idle(UNREADABLE)
    chip = '<span class="mw-chip ok">metadata</span>' if found["present"] else '<span class="mw-chip">no metadata</span>'
    lines = [f'<p class="mw-verdict">{chip} {e(report["file"]["name"])}</p>']
    lines += [f'<p><span class="mw-chip warning">warning</span> {e(words)}</p>' for words in found["problems"]]
    rows = "".join(
        f"<tr><td>{side[:-1]}</td><td><code>{e(note['name'])}</code></td><td>{e(_note(note))}</td></tr>"
        for side in ("inputs", "outputs")
        for note in found[side][:40]
    )
    lines.append(f'<div class="mw-scroll"><table class="mw-plain mw-described">{rows}</table></div>')
    if found["files"]:
        files = ", ".join(f"{f['name']} ({size(f['bytes'])})" for f in found["files"])
        lines.append(f"<p>Associated files: {e(files)}</p>")
    return f'<div class="mw-card">{"".join(lines)}</div>'


def _note(note: dict[str, Any]) -> str:
    said = [note["content"] or "content unknown"]
    if note["range"]:
        said.append(f"{note['range'][0]:g} to {note['range'][1]:g}")
    return ", ".join(said) + (f": {note['description']}" if note["description"] else "")


def written(name: str) -> str:
    words = f"{e(name)} is now the open model."
    return f'<div class="mw-card"><span class="mw-chip ok">written</span> {words}</div>'


CSS = """
.mw-described td:last-child { white-space: normal; } .mw-described code { white-space: nowrap; }
.mw-top td:last-child { font-variant-numeric: tabular-nums; text-align: right; }
"""
