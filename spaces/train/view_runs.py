"""The table of a visitor's runs, and the comparison of two runs."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from lib.train.compare import Comparison
from lib.train.evaluation import PartResult, RunResult
from lib.train.run_metrics import RunMetrics
from lib.train.run_record import Difference, RunRecord
from web.cards import card
from web.html import html, join, row

from . import curves
from .subject import label, word
from .view import RANDOM, chip, interval, percent, scroll, seconds, two_lines, when

NONE = "Your runs appear here, one row each."
NOW, CURRENT = Markup(' class="now"'), Markup(' aria-current="true"')
MORE = Markup("<th>only first correct</th><th>only second correct</th><th>McNemar’s p</th>")
HEAD = ("Name and run", "Status", "Technique, backbone", "Pictures, epochs", "Accuracy (95%)")


def table(records: Sequence[RunRecord], shown: str) -> Markup:
    """Return the table of ``records`` in their order. The name is a button that opens the run; ``shown`` is marked."""
    head = join(html('<th scope="col">{}</th>', name) for name in HEAD)
    rows = join(_row(record, record.id == shown) for record in records)
    number = f"{len(records)} {'run' if len(records) == 1 else 'runs'}"
    table = html('<table class="mw-runs"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, rows)
    title = html("<h3>{}</h3><small>Click a name to open the run.</small>", number)
    return card(title, scroll(table, "Your runs"), kind="mw-train")


def _row(record: RunRecord, now: bool) -> Markup:
    recipe, result = record.recipe, record.result
    keras = ", Keras" if recipe.get("framework") == "keras" else ""
    duration = f", {seconds(record.seconds)}" if record.seconds else ""
    verdict = record.again.verdict if record.again else ""
    epochs = f"{len(record.epochs)} of {recipe.get('epochs', '?')} epochs{duration}"
    technique = two_lines(word(recipe.get("technique", "")), f"{recipe.get('backbone', '')}{keras}")
    current = CURRENT if now else ""
    cells = [
        html('<button data-pick="run:{0.id}"{1}>{0.name}</button><div title="{0.id}">{0.id}</div>', record, current),
        two_lines(chip(record.status), verdict or when(record.created)),
        html("{}{}", technique, RANDOM if record.has_random_weights else ""),
        two_lines(record.data.name, epochs),
        _accuracy(result) if result else "–",
    ]
    return html("<tr{}>{}</tr>", NOW if now else "", join(html("<td>{}</td>", cell) for cell in cells))


def _accuracy(result: RunResult) -> Markup:
    text = html("<b>{}</b> of {:,} {}", percent(result.accuracy), result.count, result.on)
    return two_lines(text, interval(result.interval))


def choices(records: Sequence[RunRecord], shown: str) -> list[tuple[str, str]]:
    """Return the runs other than ``shown`` that have a result, for a dropdown."""
    return [
        (f"{record.name}, {when(record.created)}, {percent(record.result.accuracy)}", record.id)
        for record in records
        if record.id != shown and record.result
    ]


def compared(comparison: Comparison, metrics: Sequence[RunMetrics]) -> Markup:
    """Return the card that compares two runs. ``metrics``: of both, in the order of ``comparison.names``."""
    heads = join(html("<th>{}</th>", name) for name in comparison.names)
    rows = join(
        row(part, _figure(pair.first), _figure(pair.second), pair.only_first, pair.only_second, _p(pair.p))
        for part, pair in comparison.results.items()
    )
    table = html('<table class="mw-nowrap"><tr><th>pictures</th>{}{}</tr>{}</table>', heads, MORE, rows)
    return card(
        html('<p class="mw-verdict">{}</p>', comparison.verdict),
        scroll(table) if rows else "",
        _differences("Recipe", comparison.recipe, heads),
        _differences("Data", comparison.data, heads),
        _differences("Environment", comparison.environment, heads),
        curves.of_two(comparison.names, metrics),
        kind="mw-train",
        say=comparison.verdict,
    )


def _figure(one: PartResult) -> Markup:
    rest = f" ({interval(one.interval)}), {one.correct:,} of {one.count:,}"
    return html("<b>{}</b>{}", percent(one.accuracy), rest)


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _differences(title: str, some: list[Difference], heads: Markup) -> Markup:
    if not some:
        return html("<h4>{}: identical</h4>", title)
    rows = join(row(label(d.what), word(d.first), word(d.second)) for d in some)
    table = html('<table class="mw-nowrap"><tr><td></td>{}</tr>{}</table>', heads, rows)
    return html("<h4>{}: differences</h4>{}", title, scroll(table))
