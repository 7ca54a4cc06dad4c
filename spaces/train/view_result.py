"""A run's result: accuracy, confusion matrix, pictures of a cell, worst mistakes, record and downloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from lib.train.evaluation import EvaluatedPicture, Evaluation, PartResult
from lib.train.run_record import RunRecord
from lib.train.training import BEST
from web import cards
from web.html import code, html, join, row

from .files import RECORD
from .subject import LABELS, label, word
from .view import RANDOM, interval, percent, picture, scroll

MAX_CLASSES = 30  # of a matrix; with more classes, the most confused pairs are listed instead
MAX_PICTURES, WORST, MAX_PAIRS = 48, 12, 40
ACCURACY = Markup("<tr><th>pictures</th><th>accuracy</th><th>95% interval</th><td></td></tr>")
HOW_TO_READ = Markup("<small>Rows: true class. Columns: predicted class. Click a cell to see its pictures.</small>")
NOTHING = "The accuracy, the confusion matrix and the worst mistakes appear here after training."


def part_of(record: RunRecord, evaluation: Evaluation) -> str:
    """Return the part of the data that the result is about, or the first evaluated part, or ""."""
    parts = evaluation.parts
    part = record.result.on if record.result else ""
    return part if part in parts else next(iter(parts), "")


def summary(record: RunRecord) -> Markup:
    """Return the accuracy on every part of the data, as a table with a note."""
    result = record.result
    if result is None:
        return Markup()
    rows = join(row(name, *_figures(part_result)) for name, part_result in result.parts.items())
    note = (
        "The best epoch was chosen on the validation pictures. The test pictures were not used for any choice."
        if "test" in result.parts
        else "There are no test pictures. The best epoch was chosen on these pictures: expect a little less on new ones."
    )
    title = html("<h3>Accuracy {}</h3>", RANDOM if record.has_random_weights else "")
    table = html('<table class="mw-nowrap">{}{}</table>', ACCURACY, rows)
    return html("{}{}<small>{}</small>", title, scroll(table), note)


def _figures(one: PartResult) -> tuple[object, ...]:
    correct = f"{one.correct:,} of {one.count:,} correct"
    return html("<b>{}</b>", percent(one.accuracy)), interval(one.interval), correct


def confusion(evaluation: Evaluation, part: str) -> Markup:
    """Return a matrix whose cells are buttons, or for many classes a list of the most confused pairs."""
    classes, matrix = evaluation.classes, evaluation.parts[part].confusion if part else []
    if not matrix:
        return Markup()
    title = html("<h4>Confusion matrix of the {} pictures</h4>", part)
    if len(classes) > MAX_CLASSES:
        return title + _pairs(classes, matrix)
    head = join(html('<th scope="col" title="{0}"><span>{0}</span></th>', name) for name in classes)
    rows = []
    for i, line in enumerate(matrix):
        total = sum(line) or 1
        cells = join(html("<td>{}</td>", _cell(classes, i, j, n, n / total) if n else "") for j, n in enumerate(line))
        rows.append(html('<tr><th scope="row" title="{0}">{0}</th>{1}</tr>', classes[i], cells))
    table = html(
        '<table class="mw-confusion"><thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table>', head, join(rows)
    )
    return title + HOW_TO_READ + scroll(table, "Confusion matrix")


def _cell(classes: list[str], i: int, j: int, count: int, share: float) -> Markup:
    text = f"{count} of {classes[i]} predicted as {classes[j]}" if i != j else f"{count} of {classes[i]} correct"
    style = f"background:rgb({'13 148 136' if i == j else '220 38 38'} / {0.12 + 0.4 * share:.2f})"
    pick = f"cell:{i}:{j}"
    return html('<button data-pick="{0}" aria-label="{1}" title="{1}" style="{2}">{3:,}</button>', pick, text, style, count)


def _pairs(classes: list[str], matrix: list[list[int]]) -> Markup:
    pairs = [(n, i, j) for i, line in enumerate(matrix) for j, n in enumerate(line) if n and i != j]
    pairs.sort(key=lambda one: -one[0])
    rows = join(row(classes[i], classes[j], _pair(classes, i, j, n)) for n, i, j in pairs[:MAX_PAIRS])
    table = html(
        '<div class="mw-scroll mw-short"><table><tr><th>true</th><th>predicted</th><th>pictures</th></tr>{}</table></div>',
        rows,
    )
    return html(
        "<small>{} classes are too many for a matrix. These are confused most often.</small>{}",
        len(classes),
        table if rows else Markup("<p>Every picture has the correct label.</p>"),
    )


def _pair(classes: list[str], i: int, j: int, count: int) -> Markup:
    text = f"Show the {count} pictures of {classes[i]} predicted as {classes[j]}"
    return html('<button class="mw-do" data-pick="cell:{}:{}" aria-label="{}">{:,}</button>', i, j, text, count)


def cell(evaluation: Evaluation, part: str, i: int, j: int) -> Markup:
    """Return the pictures of class ``i`` predicted as class ``j``. Raises IndexError for an index that is no class."""
    classes = evaluation.classes
    if min(i, j) < 0:
        raise IndexError(min(i, j))
    pictures = evaluation.parts[part].picked(i, j) if part else []
    description = f"{classes[i]}, correct" if i == j else f"{classes[i]}, predicted as {classes[j]}"
    word = "picture" if len(pictures) == 1 else "pictures"
    title = f"{description}: {len(pictures):,} {word}"
    shown = sorted(pictures, key=lambda one: one.thumb is None)[:MAX_PICTURES]
    note = html("<small>The first {} are shown.</small>", len(shown)) if len(shown) < len(pictures) else ""
    return html('<h4 data-say="{0}">{0}</h4>{1}{2}', title, note, _grid(shown, classes))


def worst(evaluation: Evaluation, part: str) -> Markup:
    """Return the most confident mistakes."""
    wrong = [p for p in evaluation.parts[part].pictures if p.label != p.predicted] if part else []
    if not wrong:
        return html("<h4>Worst mistakes</h4><p>None: all {} pictures are correct.</p>", part)
    shown = wrong[:WORST]
    count_text = f": the {len(shown)} most confident of {len(wrong)}" if len(wrong) > len(shown) else ""
    return html("<h4>Worst mistakes{}</h4>{}", count_text, _grid(shown, evaluation.classes))


def _grid(some: Sequence[EvaluatedPicture], classes: list[str]) -> Markup:
    figures = (picture(p.thumb or "", f"{classes[p.label]}: {p.name}", _caption(p, classes)) for p in some)
    return html('<div class="mw-photos">{}</div>', join(figures))


def _caption(p: EvaluatedPicture, classes: list[str]) -> Markup:
    true, predicted, confidence = classes[p.label], classes[p.predicted], 100 * p.probability
    if p.label == p.predicted:
        return html("<b>{}</b>, {:.0f}%", true, confidence)
    return html('<span class="mw-wrong"><b>{}</b>, {:.0f}%</span><br>true: <b>{}</b>', predicted, confidence, true)


def record_of(record: RunRecord) -> Markup:
    """Return everything needed to reproduce the run, as closed details."""
    recipe, data, weights = record.recipe, record.data, record.weights
    parts: list[tuple[str, dict[str, Any]]] = [("Run", {"Id": record.id})]
    parts.append(
        ("Recipe", {label(k): word(v) for k, v in recipe.items() if k in LABELS or k in ("weight_decay", "threads")})
    )
    pictures = {"Name": data.name, "Pictures": data.count or None, "Classes": data.classes or None}
    parts.append(("Data", pictures | {"Fingerprint": data.fingerprint}))
    if record.split:
        parts.append(("Split", asdict(record.split)))
    if weights:
        source = {"Source": weights.source, "sha256": weights.sha256 or "none: random weights"}
        parts.append(("Backbone’s weights", source | {"Parameters": weights.parameters}))
    if record.environment:
        environment = asdict(record.environment)
        parts.append(("Environment", environment | environment.pop("packages")))
    parts.append(("Files, sha256", {name: file.sha256 for name, file in record.files.items()}))
    content = join(html("<h4>{}</h4>{}", name, _facts(facts)) for name, facts in parts if facts)
    return html("<details><summary><b>Record</b>: everything needed to reproduce this run</summary>{}</details>", content)


def _facts(facts: dict[str, Any]) -> Markup:
    rows = join(html("<dt>{}</dt><dd>{}</dd>", k, code(v)) for k, v in facts.items() if v not in (None, ""))
    return html('<dl class="mw-facts">{}</dl>', rows)


def links(address: str, weights: bool) -> Markup:
    """Return the download links. ``address``: URL prefix of the files; ``weights``: whether they exist."""
    files = [(RECORD, "Record (.json)")] + ([(BEST, "Weights (.safetensors)")] if weights else [])
    anchors = join(html('<a href="{}{}" download>{}</a>', address, name, text) for name, text in files)
    return html('<div class="mw-links">{}</div>', anchors)


def card(*parts: Markup) -> Markup:
    """Return one card of the given parts, or empty markup if all are empty."""
    return cards.card(*parts, kind="mw-train") if any(parts) else Markup()
