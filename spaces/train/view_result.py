"""A run's result: confusion, pictures, the worst mistakes, the record, and what a picture was taken for."""

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

MAX_CLASSES = 30  # of a matrix; beyond, the pairs that are confused most
MAX_PICTURES, WORST, MAX_PAIRS = 48, 12, 40
ACCURACY = Markup("<tr><th>pictures</th><th>accuracy</th><th>95% interval</th><td></td></tr>")
HOW_TO_READ = Markup("<small>Rows: true class. Columns: predicted class. Click a cell to see its pictures.</small>")
NOTHING = "The accuracy, the confusion matrix and the worst mistakes appear here after training."


def part_of(record: RunRecord, evaluation: Evaluation) -> str:
    """The part that the result is about, or the one that there is."""
    parts = evaluation.parts
    on = record.result.on if record.result else ""
    return on if on in parts else next(iter(parts), "")


def summary(record: RunRecord) -> Markup:
    """The accuracy in words and figures, of every part."""
    result = record.result
    if result is None:
        return Markup()
    rows = join(row(name, *_figures(one)) for name, one in result.parts.items())
    chosen = (
        "The best epoch was chosen on the validation pictures. The test pictures were not used for any choice."
        if "test" in result.parts
        else "There are no test pictures. The best epoch was chosen on these pictures: expect a little less on new ones."
    )
    title = html("<h3>Accuracy {}</h3>", RANDOM if record.has_random_weights else "")
    table = html('<table class="mw-nowrap">{}{}</table>', ACCURACY, rows)
    return html("{}{}<small>{}</small>", title, scroll(table), chosen)


def _figures(one: PartResult) -> tuple[object, ...]:
    right = f"{one.correct:,} of {one.count:,} correct"
    return html("<b>{}</b>", percent(one.accuracy)), interval(one.interval), right


def confusion(evaluation: Evaluation, part: str) -> Markup:
    """A matrix whose cells are buttons; for many classes a list of the pairs that are confused most."""
    classes, matrix = evaluation.classes, evaluation.parts[part].confusion if part else []
    if not matrix:
        return Markup()
    said = html("<h4>Confusion matrix of the {} pictures</h4>", part)
    if len(classes) > MAX_CLASSES:
        return said + _pairs(classes, matrix)
    head = join(html('<th scope="col" title="{0}"><span>{0}</span></th>', name) for name in classes)
    rows = []
    for i, line in enumerate(matrix):
        total = sum(line) or 1
        cells = join(html("<td>{}</td>", _cell(classes, i, j, n, n / total) if n else "") for j, n in enumerate(line))
        rows.append(html('<tr><th scope="row" title="{0}">{0}</th>{1}</tr>', classes[i], cells))
    table = html(
        '<table class="mw-confusion"><thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table>', head, join(rows)
    )
    return said + HOW_TO_READ + scroll(table, "Confusion matrix")


def _cell(classes: list[str], i: int, j: int, count: int, share: float) -> Markup:
    words = f"{count} of {classes[i]} predicted as {classes[j]}" if i != j else f"{count} of {classes[i]} correct"
    style = f"background:rgb({'13 148 136' if i == j else '220 38 38'} / {0.12 + 0.4 * share:.2f})"
    pick = f"cell:{i}:{j}"
    return html('<button data-pick="{0}" aria-label="{1}" title="{1}" style="{2}">{3:,}</button>', pick, words, style, count)


def _pairs(classes: list[str], matrix: list[list[int]]) -> Markup:
    found = [(n, i, j) for i, line in enumerate(matrix) for j, n in enumerate(line) if n and i != j]
    found.sort(key=lambda one: -one[0])
    rows = join(row(classes[i], classes[j], _pair(classes, i, j, n)) for n, i, j in found[:MAX_PAIRS])
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
    said = f"Show the {count} pictures of {classes[i]} predicted as {classes[j]}"
    return html('<button class="mw-do" data-pick="cell:{}:{}" aria-label="{}">{:,}</button>', i, j, said, count)


def cell(evaluation: Evaluation, part: str, i: int, j: int) -> Markup:
    """The pictures of class ``i`` that were taken for class ``j``. Raises IndexError for no class."""
    classes = evaluation.classes
    if min(i, j) < 0:
        raise IndexError(min(i, j))
    some = evaluation.parts[part].picked(i, j) if part else []
    what = f"{classes[i]}, correct" if i == j else f"{classes[i]}, predicted as {classes[j]}"
    word = "picture" if len(some) == 1 else "pictures"
    said = f"{what}: {len(some):,} {word}"
    drawn = sorted(some, key=lambda one: one.thumb is None)[:MAX_PICTURES]
    rest = html("<small>The first {} are shown.</small>", len(drawn)) if len(drawn) < len(some) else ""
    return html('<h4 data-say="{0}">{0}</h4>{1}{2}', said, rest, _grid(drawn, classes))


def worst(evaluation: Evaluation, part: str) -> Markup:
    """The most confident mistakes."""
    wrong = [one for one in evaluation.parts[part].pictures if one.label != one.predicted] if part else []
    if not wrong:
        return html("<h4>Worst mistakes</h4><p>None: all {} pictures are correct.</p>", part)
    some = wrong[:WORST]
    more = f": the {len(some)} most confident of {len(wrong)}" if len(wrong) > len(some) else ""
    return html("<h4>Worst mistakes{}</h4>{}", more, _grid(some, evaluation.classes))


def _grid(some: Sequence[EvaluatedPicture], classes: list[str]) -> Markup:
    drawn = (picture(p.thumb or "", f"{classes[p.label]}: {p.name}", _caption(p, classes)) for p in some)
    return html('<div class="mw-photos">{}</div>', join(drawn))


def _caption(p: EvaluatedPicture, classes: list[str]) -> Markup:
    true, said, sure = classes[p.label], classes[p.predicted], 100 * p.probability
    if p.label == p.predicted:
        return html("<b>{}</b>, {:.0f}%", true, sure)
    return html('<span class="mw-wrong"><b>{}</b>, {:.0f}%</span><br>true: <b>{}</b>', said, sure, true)


def record_of(record: RunRecord) -> Markup:
    """All that is needed to make the run again, folded."""
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
    inside = join(html("<h4>{}</h4>{}", name, _facts(facts)) for name, facts in parts if facts)
    return html("<details><summary><b>Record</b>: everything needed to reproduce this run</summary>{}</details>", inside)


def _facts(facts: dict[str, Any]) -> Markup:
    rows = join(html("<dt>{}</dt><dd>{}</dd>", k, code(v)) for k, v in facts.items() if v not in (None, ""))
    return html('<dl class="mw-facts">{}</dl>', rows)


def links(address: str, weights: bool) -> Markup:
    """Downloads; ``address`` ends where a file's name is due."""
    some = [(RECORD, "Record (.json)")] + ([(BEST, "Weights (.safetensors)")] if weights else [])
    found = join(html('<a href="{}{}" download>{}</a>', address, name, words) for name, words in some)
    return html('<div class="mw-links">{}</div>', found)


def card(*parts: Markup) -> Markup:
    """One card of some of the above; none of nothing."""
    return cards.card(*parts, kind="mw-train") if any(parts) else Markup()
