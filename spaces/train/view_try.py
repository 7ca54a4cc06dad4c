"""The prediction for a picture: by the run's own framework, and by each further runtime for comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from lib.train.classification import Answer, Classification, Unreadable
from web.cards import card, chip
from web.html import html, join
from web.html import row as cells

from .view import percent

BARS = 5
SAME = 0.05  # tolerance of a probability; files with rounded pixels or weights differ by a few hundredths
OWN = "pytorch"
RUNTIMES = {OWN: "PyTorch", "onnxruntime": "onnxruntime", "litert": "LiteRT", "mediapipe": "MediaPipe"}
FILES = {"onnx": "ONNX", "tflite": "TensorFlow Lite"}  # by target
SCALED = Markup("<small>MediaPipe resizes pictures differently; a difference of a few hundredths is normal.</small>")
WRONG = Markup(' class="mw-wrong"')


@dataclass(frozen=True, slots=True)
class Needs:
    """The runtime needs the exported file of ``target``, which does not exist yet."""

    target: str


Row = Answer | Needs | None  # None while the runtime is running


def answer(own_row: Answer, name: str, image: str, others: Mapping[str, Row], own: str = RUNTIMES[OWN]) -> Markup:
    """Return the card of a classified picture.

    ``own_row``: answer of the run's own framework; ``others``: answers of further runtimes; ``image``: URL of the picture;
    ``name``: of the run; ``own``: name of its framework.
    """
    if isinstance(own_row, Unreadable):
        return card(chip("no picture", "error"), f" {own_row.error}", kind="mw-train")
    best = sorted(own_row.scores.items(), key=lambda item: -item[1])[:BARS]
    bars = join(cells(k, html('<i style="width:{:.1f}%"></i>', 100 * v), percent(v)) for k, v in best)
    label, score_text = own_row.label, percent(own_row.score)
    headline = html(
        '<div class="mw-tried" data-tried="{}"><img src="{}" alt="The picture that was classified"><div>'
        '<span class="mw-big">{}</span><br><span>{}, in {} ms, by the run {}</span></div></div>',
        json.dumps(own_row.scores),
        image,
        label,
        score_text,
        _ms(own_row.milliseconds),
        name,
    )
    table = html('<table class="mw-scores">{}</table>', bars)
    return card(headline, table, side_by_side(own_row, others, own), kind="mw-train", say=f"{label}, {score_text}")


def side_by_side(own_row: Classification, others: Mapping[str, Row], own: str = RUNTIMES[OWN]) -> Markup:
    """Return a table with one row per runtime. Rows that differ from the run's own framework are marked."""
    if not others:
        return Markup()
    rows: dict[str, Row] = {OWN: own_row, **others}
    return html(
        '<h4>The same picture on each runtime</h4><div class="mw-scroll" tabindex="0" role="region" aria-label="Runtimes">'
        '<table class="mw-nowrap mw-beside"><tr><th>runtime</th><th>label</th><th>score</th><th>ms, once</th><th>vs. {}</th>'
        "</tr>{}</table></div>{}{}",
        own,
        join(_line(runtime, row, own_row, own) for runtime, row in rows.items()),
        _buttons(rows),
        SCALED if isinstance(others.get("mediapipe"), Classification) else "",
    )


def _line(runtime: str, row: Row, own_row: Classification, own: str) -> Markup:
    title = own if runtime == OWN else RUNTIMES.get(runtime, runtime)
    if row is None:
        return html('<tr><td>{}</td><td colspan="4" class="mw-quiet">running …</td></tr>', title)
    if isinstance(row, Needs):
        file_title = FILES.get(row.target, row.target)
        return html('<tr><td>{}</td><td colspan="4" class="mw-quiet">needs the {} file</td></tr>', title, file_title)
    if isinstance(row, Unreadable):
        return html('<tr><td>{}</td><td colspan="4" class="mw-long">{}</td></tr>', title, row.error)
    name = html("{}{}", title, html("<div>{}</div>", row.file) if row.file else "")
    difference = "" if runtime == OWN else _difference(row, own_row)
    return cells(name, row.label, percent(row.score), _ms(row.milliseconds), difference)


def _difference(row: Classification, own_row: Classification) -> Markup | str:
    if row.label != own_row.label:
        return chip("different label", "warning")
    gap = distance(row, own_row)
    if gap is None:
        return "same label"
    return html('<span{} title="Same label; largest difference of a probability">± {:.3f}</span>', WRONG * (gap > SAME), gap)


def distance(row: Classification, own_row: Classification) -> float | None:
    """Return the largest difference of a class probability, or None if the classes differ."""
    scores, own_scores = row.scores, own_row.scores
    return max(abs(scores[k] - own_scores[k]) for k in scores) if scores and scores.keys() == own_scores.keys() else None


def _buttons(rows: Mapping[str, Row]) -> Markup:
    """Return a button for each missing export."""
    missing = dict.fromkeys(row.target for row in rows.values() if isinstance(row, Needs))
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
