"""A run's result: confusion, pictures, the worst mistakes, the record, and what a picture was taken for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lib.train.run_record import RunRecord
from lib.train.training import BEST
from web.cards import e

from .files import RECORD
from .subject import LABELS, label, word
from .view import RANDOM, interval, percent, picture

MOST_CLASSES = 30  # of a matrix; beyond, the pairs that are confused most
MOST_PICTURES, WORST, MOST_PAIRS = 48, 12, 40
NOTHING = "The accuracy, the confusion matrix and the worst mistakes appear here after training."


def part_of(record: RunRecord, evaluation: dict[str, Any]) -> str:
    """The part that the result is about, or the one that there is."""
    parts = evaluation.get("parts") or {}
    on = record.result.on if record.result else ""
    return on if on in parts else next(iter(parts), "")


def summary(record: RunRecord) -> str:
    """The accuracy in words and figures, of every part."""
    result = record.result
    if result is None:
        return ""
    rows = "".join(
        f"<tr><td>{e(name)}</td><td><b>{percent(one.accuracy)}</b></td><td>{interval(one.interval)}</td>"
        f"<td>{one.correct:,} of {one.count:,} correct</td></tr>"
        for name, one in result.parts.items()
    )
    chosen = (
        "The best epoch was chosen on the validation pictures. The test pictures were not used for any choice."
        if "test" in result.parts
        else "There are no test pictures. The best epoch was chosen on these pictures: expect a little less on new ones."
    )
    head = "<tr><th>pictures</th><th>accuracy</th><th>95% interval</th><td></td></tr>"
    title = f"<h3>Accuracy {RANDOM if record.has_random_weights else ''}</h3>"
    return f'{title}<div class="mw-scroll"><table class="mw-nowrap">{head}{rows}</table></div><small>{chosen}</small>'


def confusion(evaluation: dict[str, Any], part: str) -> str:
    """A matrix whose cells are buttons; for many classes a list of the pairs that are confused most."""
    classes = evaluation.get("classes") or []
    matrix = ((evaluation.get("parts") or {}).get(part) or {}).get("confusion") or []
    if not matrix:
        return ""
    said = f"<h4>Confusion matrix of the {e(part)} pictures</h4>"
    if len(classes) > MOST_CLASSES:
        return said + _pairs(classes, matrix)
    head = "".join(f'<th scope="col" title="{e(name)}"><span>{e(name)}</span></th>' for name in classes)
    rows = []
    for i, row in enumerate(matrix):
        total = sum(row) or 1
        cells = "".join(f"<td>{_cell(classes, i, j, n, n / total) if n else ''}</td>" for j, n in enumerate(row))
        rows.append(f'<tr><th scope="row" title="{e(classes[i])}">{e(classes[i])}</th>{cells}</tr>')
    return (
        f"{said}<small>Rows: true class. Columns: predicted class. Click a cell to see its pictures.</small>"
        f'<div class="mw-scroll" tabindex="0" role="region" aria-label="Confusion matrix"><table class="mw-confusion">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(classes: list[str], i: int, j: int, count: int, share: float) -> str:
    colour = "13 148 136" if i == j else "220 38 38"
    words = f"{count} of {classes[i]} predicted as {classes[j]}" if i != j else f"{count} of {classes[i]} correct"
    return (
        f'<button data-pick="cell:{i}:{j}" aria-label="{e(words)}" title="{e(words)}" '
        f'style="background:rgb({colour} / {0.12 + 0.4 * share:.2f})">{count:,}</button>'
    )


def _pairs(classes: list[str], matrix: list[list[int]]) -> str:
    found = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if n and i != j]
    found.sort(key=lambda one: -one[0])
    rows = "".join(
        f'<tr><td>{e(classes[i])}</td><td>{e(classes[j])}</td><td><button class="mw-do" data-pick="cell:{i}:{j}" '
        f'aria-label="Show the {n} pictures of {e(classes[i])} predicted as {e(classes[j])}">{n:,}</button></td></tr>'
        for n, i, j in found[:MOST_PAIRS]
    )
    head = "<tr><th>true</th><th>predicted</th><th>pictures</th></tr>"
    none = "<p>Every picture has the correct label.</p>"
    return f"<small>{len(classes)} classes are too many for a matrix. These are confused most often.</small>" + (
        f'<div class="mw-scroll mw-short"><table>{head}{rows}</table></div>' if rows else none
    )


def cell(evaluation: dict[str, Any], part: str, i: int, j: int) -> str:
    """The pictures of class ``i`` that were taken for class ``j``. Raises IndexError for no class."""
    classes = evaluation.get("classes") or []
    if min(i, j) < 0:
        raise IndexError(min(i, j))
    some = [p for p in _pictures(evaluation, part) if p["label"] == i and p["predicted"] == j]
    what = f"{classes[i]}, correct" if i == j else f"{classes[i]}, predicted as {classes[j]}"
    word = "picture" if len(some) == 1 else "pictures"
    said = f"{what}: {len(some):,} {word}"
    drawn = sorted(some, key=lambda p: "thumb" not in p)[:MOST_PICTURES]
    rest = f"<small>The first {len(drawn)} are shown.</small>" if len(drawn) < len(some) else ""
    return f'<h4 data-say="{e(said)}">{e(said)}</h4>{rest}<div class="mw-photos">{_grid(drawn, classes)}</div>'


def worst(evaluation: dict[str, Any], part: str) -> str:
    """The mistakes that the network was surest of."""
    wrong = [p for p in _pictures(evaluation, part) if p["label"] != p["predicted"]]
    if not wrong:
        return f"<h4>Worst mistakes</h4><p>None: all {e(part)} pictures are correct.</p>"
    some = wrong[:WORST]
    more = f": the {len(some)} most confident of {len(wrong)}" if len(wrong) > len(some) else ""
    return f'<h4>Worst mistakes{more}</h4><div class="mw-photos">{_grid(some, evaluation.get("classes") or [])}</div>'


def _pictures(evaluation: dict[str, Any], part: str) -> list[dict[str, Any]]:
    return ((evaluation.get("parts") or {}).get(part) or {}).get("pictures") or []


def _grid(some: list[dict[str, Any]], classes: list[str]) -> str:
    return "".join(picture(p.get("thumb", ""), f"{classes[p['label']]}: {p['name']}", _caption(p, classes)) for p in some)


def _caption(p: dict[str, Any], classes: list[str]) -> str:
    true, said = e(classes[p["label"]]), e(classes[p["predicted"]])
    sure = f"{100 * p['probability']:.0f}%"
    if p["label"] == p["predicted"]:
        return f"<b>{true}</b>, {sure}"
    return f'<span class="mw-wrong"><b>{said}</b>, {sure}</span><br>true: <b>{true}</b>'


def record_of(record: RunRecord) -> str:
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
    inside = "".join(f"<h4>{name}</h4>{_facts(facts)}" for name, facts in parts if facts)
    return f"<details><summary><b>Record</b>: everything needed to reproduce this run</summary>{inside}</details>"


def _facts(facts: dict[str, Any]) -> str:
    rows = "".join(f"<dt>{e(k)}</dt><dd><code>{e(v)}</code></dd>" for k, v in facts.items() if v not in (None, ""))
    return f'<dl class="mw-facts">{rows}</dl>'


def links(address: str, weights: bool) -> str:
    """Downloads; ``address`` ends where a file's name is due."""
    some = [(RECORD, "Record (.json)")] + ([(BEST, "Weights (.safetensors)")] if weights else [])
    return "".join(f'<a href="{e(address)}{name}" download>{e(words)}</a>' for name, words in some)


def card(*parts: str) -> str:
    """One card of some of the above; none of nothing."""
    return f'<div class="mw-card mw-train">{"".join(parts)}</div>' if any(parts) else ""
