"""HTML helpers that the tab's views share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from lib.convert.formats import FORMATS
from web import cards
from web.html import code, html, join, row

# turns a click on [data-pick] into an event with that value
PICK = """element.addEventListener('click', (event) => {
  const found = event.target.closest('[data-pick]');
  if (found && element.contains(found)) trigger('click', { pick: found.dataset.pick });
});"""
COLOURS = {"proven": "ok", "failed": "error", "unproven": "warning"}
RANDOM = cards.chip("random weights", "warning")


def messages(found: Sequence[str]) -> Markup:
    lines = join(html("<li>{}</li>", m) for m in found)
    return html('<ul class="mw-messages">{}</ul>', lines) if lines else lines


def chip(word: str | None) -> Markup:
    return cards.chip(word, COLOURS.get(word, "")) if word else Markup()


def shape(dims: Iterable[int | str]) -> str:
    return " × ".join(map(str, dims)) or "scalar"


def title(name: str) -> str:
    return FORMATS[name].title if name in FORMATS else name


def table(kind: str, names: Sequence[str], rows: Iterable[Markup]) -> Markup:
    """Return a table with ``names`` as its column headers."""
    head = (html("<th>{}</th>", name) if name else Markup("<td></td>") for name in names)
    return html('<table class="mw-grid{}"><tr>{}</tr>{}</table>', kind and f" {kind}", join(head), join(rows))


def short(name: str, most: int = 80) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def label(source: str) -> str:
    """Return the display name of a source given by name. A JSON configuration is shown by its model type only."""
    kind, _, rest = source.partition(":")
    if not rest.startswith("{"):
        return source
    model_type = rest.partition('"model_type": "')[2].partition('"')[0]
    return f"{kind}:{model_type} (a small one)" if model_type else short(source)


def values(name: str, found: list[dict[str, Any]], most: int = 12) -> Markup:
    """Return a table of inputs or outputs. Those beyond ``most`` are in closed details."""
    rows = [row(code(v["name"]), v["dtype"], shape(v["shape"])) for v in found]
    visible = html("<table>{}</table>", join(rows[:most]) or row("none"))
    hidden_count, hidden = len(rows) - most, join(rows[most:400])
    fold = html("<details><summary>and {} more</summary><table>{}</table></details>", hidden_count, hidden) if hidden else ""
    return html("<div><h3>{}</h3>{}{}</div>", name, visible, fold)
