"""What a picture was taken for: by the run's own network at once, then by each runtime beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from web.cards import e

from .view import percent

BARS = 5
SAME = 0.05  # of a probability; files that round pixels or weights differ by a few hundredths
OWN = "pytorch"
RUNTIMES = {OWN: "PyTorch", "onnxruntime": "onnxruntime", "litert": "LiteRT", "mediapipe": "MediaPipe"}
FILES = {"onnx": "ONNX", "tflite": "TensorFlow Lite"}  # by target
Row = dict[str, Any]


def answer(row: Row, name: str, image: str, others: Mapping[str, Row | None], own: str = RUNTIMES[OWN]) -> str:
    """``row`` is what the run's own framework says; ``image`` the address of the picture.

    ``others``: of each further runtime its row; None while it is asked; ``{"needs": target}`` where the export is missing.
    """
    if "error" in row:
        return f'<div class="mw-card mw-train"><span class="mw-chip error">no picture</span> {e(row["error"])}</div>'
    scores = row.get("scores") or {}
    best = sorted(scores.items(), key=lambda item: -item[1])[:BARS]
    bars = "".join(
        f'<tr><td>{e(k)}</td><td><i style="width:{100 * v:.1f}%"></i></td><td>{percent(v)}</td></tr>' for k, v in best
    )
    said = f"{row['label']}, {percent(row['score'])}"
    return (
        f'<div class="mw-card mw-train" data-say="{e(said)}"><div class="mw-tried" data-tried="{e(json.dumps(scores))}">'
        f'<img src="{e(image)}" alt="The picture that was classified"><div><span class="mw-big">{e(row["label"])}</span><br>'
        f"<span>{percent(row['score'])}, in {_ms(row['milliseconds'])} ms, by the run {e(name)}</span></div></div>"
        f'<table class="mw-scores">{bars}</table>{side_by_side({OWN: row, **others}, own)}</div>'
    )


def side_by_side(rows: Mapping[str, Row | None], own: str = RUNTIMES[OWN]) -> str:
    """A line a runtime. Where one says something else than the run's own framework, it is marked."""
    if len(rows) < 2:
        return ""
    first = rows[OWN] or {}
    lines = "".join(_line(runtime, row, first, own) for runtime, row in rows.items())
    head = f"<tr><th>runtime</th><th>label</th><th>score</th><th>ms, once</th><th>vs. {e(own)}</th></tr>"
    return (
        f'<h4>The same picture on each runtime</h4><div class="mw-scroll" tabindex="0" role="region" aria-label="Runtimes">'
        f'<table class="mw-nowrap mw-beside">{head}{lines}</table></div>{_buttons(rows)}{_scaled(rows)}'
    )


def _scaled(rows: Mapping[str, Row | None]) -> str:
    words = "MediaPipe resizes pictures differently; a difference of a few hundredths is normal."
    return f"<small>{words}</small>" if "label" in (rows.get("mediapipe") or {}) else ""


def _line(runtime: str, row: Row | None, first: Row, own: str) -> str:
    name = e(own if runtime == OWN else RUNTIMES.get(runtime, runtime))
    name += f"<div>{e(row['file'])}</div>" if row and row.get("file") else ""
    if row is None:
        return f'<tr><td>{name}</td><td colspan="4" class="mw-quiet">running …</td></tr>'
    if "needs" in row:
        words = f"needs the {FILES.get(row['needs'], row['needs'])} file"
        return f'<tr><td>{name}</td><td colspan="4" class="mw-quiet">{e(words)}</td></tr>'
    if "error" in row:
        return f'<tr><td>{name}</td><td colspan="4" class="mw-long">{e(row["error"])}</td></tr>'
    cells = f"<td>{e(row['label'])}</td><td>{percent(row['score'])}</td><td>{_ms(row['milliseconds'])}</td>"
    return f"<tr><td>{name}</td>{cells}<td>{'' if runtime == OWN else _difference(row, first)}</td></tr>"


def _difference(row: Row, first: Row) -> str:
    if row["label"] != first["label"]:
        return '<span class="mw-chip warning">another label</span>'
    far = distance(row, first)
    if far is None:
        return "same label"
    mark = ' class="mw-wrong"' if far > SAME else ""
    return f'<span{mark} title="Same label; largest difference of a probability">± {far:.3f}</span>'


def distance(row: Row, first: Row) -> float | None:
    """The largest difference of a class's probability; None where the classes are not the same."""
    one, other = row.get("scores") or {}, first.get("scores") or {}
    return max(abs(one[k] - other[k]) for k in one) if one and one.keys() == other.keys() else None


def _buttons(rows: Mapping[str, Row | None]) -> str:
    """One for each export that is missing."""
    missing = dict.fromkeys(row["needs"] for row in rows.values() if row and "needs" in row)
    return (
        '<div class="mw-links">'
        + "".join(
            f'<button class="mw-do" data-pick="make:{e(target)}">Make the {e(FILES.get(target, target))} file</button>'
            for target in missing
        )
        + "</div>"
        if missing
        else ""
    )


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


CSS = """
.mw-tried { display: flex; gap: 14px; align-items: center; margin-bottom: 6px; } .mw-tried > div { min-width: 0; }
.mw-tried img { width: 84px; height: 84px; object-fit: contain; border-radius: 8px; margin: 0; flex: none;
  background: var(--background-fill-secondary); }
.mw-card .mw-beside td, .mw-card .mw-beside th { font-variant-numeric: tabular-nums; }
.mw-card .mw-beside td.mw-long, .mw-card .mw-beside th { white-space: normal; overflow-wrap: normal; }
.mw-card .mw-beside th { vertical-align: bottom; } .mw-card .mw-beside :is(td, th):last-child { padding-right: 0; }
.mw-beside td div { color: var(--body-text-color-subdued); font-size: 0.8rem; line-height: 1.35; }
.mw-tried .mw-big { font-size: clamp(1.25rem, 6vw, 2.3rem); }
@media (max-width: 768px) { #train-answer .mw-card { max-width: calc(100vw - 64px); }
  .mw-card .mw-beside td, .mw-card .mw-beside th { padding-right: 8px; font-size: 0.82rem; } }
.mw-train button.mw-do[hidden] { display: none; }
"""
