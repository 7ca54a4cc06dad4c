"""The table of a visitor's runs, and two of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib.train.compare import Comparison
from lib.train.evaluation import PartResult
from lib.train.run_record import Difference, RunRecord
from web.cards import e

from . import curves
from .subject import label, word
from .view import RANDOM, chip, interval, percent, seconds, when

NONE = "Your runs appear here, one row each."
HEAD = ("Name and run", "Status", "Technique, backbone", "Pictures, epochs", "Accuracy (95%)")


def table(records: Sequence[RunRecord], shown: str) -> str:
    """Newest first; the name is a button that opens the run."""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    rows = "".join(_row(record, record.id == shown) for record in records)
    word = "run" if len(records) == 1 else "runs"
    return (
        f'<div class="mw-card mw-train"><h3>{len(records)} {word}</h3><small>Click a name to open the run.</small>'
        f'<div class="mw-scroll" tabindex="0" role="region" aria-label="Your runs"><table class="mw-runs"><thead><tr>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def _row(record: RunRecord, now: bool) -> str:
    recipe, result = record.recipe, record.result
    ran = len(record.epochs)
    keras = ", Keras" if recipe.get("framework") == "keras" else ""
    chance = RANDOM if record.has_random_weights else ""
    took = f", {seconds(record.seconds)}" if record.seconds else ""
    same = record.again.verdict if record.again else ""
    cells = [
        f'<button data-pick="run:{e(record.id)}"{" aria-current=true" if now else ""}>{e(record.name)}</button>'
        f'<div title="{e(record.id)}">{e(record.id)}</div>',
        f"{chip(record.status)}<div>{e(same or when(record.created))}</div>",
        f"{e(word(recipe.get('technique', '')))}<div>{e(recipe.get('backbone', ''))}{keras}</div>{chance}",
        f"{e(record.data.name)}<div>{ran} of {e(recipe.get('epochs', '?'))} epochs{took}</div>",
        f"<b>{percent(result.accuracy)}</b> of {result.count:,} {e(result.on)}<div>{interval(result.interval)}</div>"
        if result
        else "–",
    ]
    return f"<tr{' class=now' if now else ''}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def choices(records: Sequence[RunRecord], shown: str) -> list[tuple[str, str]]:
    """The other runs that have a result, for a dropdown."""
    return [
        (f"{record.name}, {when(record.created)}, {percent(record.result.accuracy)}", record.id)
        for record in records
        if record.id != shown and record.result
    ]


def compared(comparison: Comparison, metrics: list[list[dict[str, Any]]]) -> str:
    """``metrics`` are those of the two runs, in the order of ``comparison``."""
    names = comparison.names
    heads = "".join(f"<th>{e(name)}</th>" for name in names)
    results = "".join(
        f"<tr><td>{e(part)}</td><td>{_figure(row.first)}</td><td>{_figure(row.second)}</td>"
        f"<td>{row.only_first}</td><td>{row.only_second}</td><td>{_p(row.p)}</td></tr>"
        for part, row in comparison.results.items()
    )
    more = "<th>only first correct</th><th>only second correct</th><th>McNemar’s p</th>"
    same = (
        f'<div class="mw-scroll"><table class="mw-nowrap"><tr><th>pictures</th>{heads}{more}</tr>{results}</table></div>'
        if results
        else ""
    )
    return (
        f'<div class="mw-card mw-train" data-say="{e(comparison.verdict)}"><p class="mw-verdict">{e(comparison.verdict)}</p>'
        f"{same}"
        f"{_differences('Recipe', comparison.recipe, heads)}{_differences('Data', comparison.data, heads)}"
        f"{_differences('Environment', comparison.environment, heads)}{curves.of_two(names, metrics)}</div>"
    )


def _figure(one: PartResult) -> str:
    return f"<b>{percent(one.accuracy)}</b> ({interval(one.interval)}), {one.correct:,} of {one.count:,}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _differences(title: str, some: list[Difference], heads: str) -> str:
    if not some:
        return f"<h4>{title}: identical</h4>"
    rows = "".join(
        f"<tr><td>{e(label(d.what))}</td><td>{e(word(d.first))}</td><td>{e(word(d.second))}</td></tr>" for d in some
    )
    table = f'<table class="mw-nowrap"><tr><td></td>{heads}</tr>{rows}</table>'
    return f'<h4>{title}: differences</h4><div class="mw-scroll">{table}</div>'
