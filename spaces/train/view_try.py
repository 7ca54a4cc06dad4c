"""What a picture was taken for: by the run's own network at once, then by each runtime beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from web.cards import card, chip
from web.html import html, join
from web.html import row as cells

from .view import percent

BARS = 5
SAME = 0.05  # of a probability; files that round pixels or weights differ by a few hundredths
OWN = "pytorch"
RUNTIMES = {OWN: "PyTorch", "onnxruntime": "onnxruntime", "litert": "LiteRT", "mediapipe": "MediaPipe"}
FILES = {"onnx": "ONNX", "tflite": "TensorFlow Lite"}  # by target
Row = dict[str, Any]
SCALED = Markup("<small>MediaPipe resizes pictures differently; a difference of a few hundredths is normal.</small>")
WRONG = Markup(' class="mw-wrong"')


def answer(row: Row, name: str, image: str, others: Mapping[str, Row | None], own: str = RUNTIMES[OWN]) -> Markup:
    """``row`` is what the run's own framework says; ``image`` the address of the picture.

    ``others``: of each further runtime its row; None while it is asked; ``{"needs": target}`` where the export is missing.
    """
    if "error" in row:
        return card(chip("no picture", "error"), f" {row['error']}", kind="mw-train")
    scores = row.get("scores") or {}
    best = sorted(scores.items(), key=lambda item: -item[1])[:BARS]
    bars = join(cells(k, html('<i style="width:{:.1f}%"></i>', 100 * v), percent(v)) for k, v in best)
    label, sure = row["label"], percent(row["score"])
    tried = html(
        '<div class="mw-tried" data-tried="{}"><img src="{}" alt="The picture that was classified"><div>'
        '<span class="mw-big">{}</span><br><span>{}, in {} ms, by the run {}</span></div></div>',
        json.dumps(scores),
        image,
        label,
        sure,
        _ms(row["milliseconds"]),
        name,
    )
    table = html('<table class="mw-scores">{}</table>', bars)
    return card(tried, table, side_by_side({OWN: row, **others}, own), kind="mw-train", say=f"{label}, {sure}")


def side_by_side(rows: Mapping[str, Row | None], own: str = RUNTIMES[OWN]) -> Markup:
    """A line a runtime. Where one says something else than the run's own framework, it is marked."""
    if len(rows) < 2:
        return Markup()
    first = rows[OWN] or {}
    return html(
        '<h4>The same picture on each runtime</h4><div class="mw-scroll" tabindex="0" role="region" aria-label="Runtimes">'
        '<table class="mw-nowrap mw-beside"><tr><th>runtime</th><th>label</th><th>score</th><th>ms, once</th><th>vs. {}</th>'
        "</tr>{}</table></div>{}{}",
        own,
        join(_line(runtime, row, first, own) for runtime, row in rows.items()),
        _buttons(rows),
        SCALED if "label" in (rows.get("mediapipe") or {}) else "",
    )


def _line(runtime: str, row: Row | None, first: Row, own: str) -> Markup:
    file = html("<div>{}</div>", row["file"]) if row and row.get("file") else ""
    name = html("{}{}", own if runtime == OWN else RUNTIMES.get(runtime, runtime), file)
    if row is None or "needs" in row:
        words = f"needs the {FILES.get(row['needs'], row['needs'])} file" if row else "running …"
        return html('<tr><td>{}</td><td colspan="4" class="mw-quiet">{}</td></tr>', name, words)
    if "error" in row:
        return html('<tr><td>{}</td><td colspan="4" class="mw-long">{}</td></tr>', name, row["error"])
    far = "" if runtime == OWN else _difference(row, first)
    return cells(name, row["label"], percent(row["score"]), _ms(row["milliseconds"]), far)


def _difference(row: Row, first: Row) -> Markup | str:
    if row["label"] != first["label"]:
        return chip("another label", "warning")
    far = distance(row, first)
    if far is None:
        return "same label"
    return html('<span{} title="Same label; largest difference of a probability">± {:.3f}</span>', WRONG * (far > SAME), far)


def distance(row: Row, first: Row) -> float | None:
    """The largest difference of a class's probability; None where the classes are not the same."""
    one, other = row.get("scores") or {}, first.get("scores") or {}
    return max(abs(one[k] - other[k]) for k in one) if one and one.keys() == other.keys() else None


def _buttons(rows: Mapping[str, Row | None]) -> Markup:
    """One for each export that is missing."""
    missing = dict.fromkeys(row["needs"] for row in rows.values() if row and "needs" in row)
    buttons = join(
        html('<button class="mw-do" data-pick="make:{}">Make the {} file</button>', target, FILES.get(target, target))
        for target in missing
    )
    return html('<div class="mw-links">{}</div>', buttons) if buttons else buttons


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
