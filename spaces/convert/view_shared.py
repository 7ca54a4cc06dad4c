"""Small pieces of HTML that the tab's views share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from lib.convert.formats import FORMATS
from web import cards
from web.html import code, html, join, row

# a click on [data-pick] tells the server what was picked
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
    """With ``names`` above its columns."""
    head = (html("<th>{}</th>", name) if name else Markup("<td></td>") for name in names)
    return html('<table class="mw-grid{}"><tr>{}</tr>{}</table>', kind and f" {kind}", join(head), join(rows))


def short(name: str, most: int = 80) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def label(source: str) -> str:
    """A source by name as it is shown: a configuration in JSON by its model's type only."""
    kind, _, rest = source.partition(":")
    if not rest.startswith("{"):
        return source
    found = rest.partition('"model_type": "')[2].partition('"')[0]
    return f"{kind}:{found} (a small one)" if found else short(source)


def values(name: str, found: list[dict[str, Any]], most: int = 12) -> Markup:
    """Inputs or outputs; those beyond ``most`` in a fold."""
    rows = [row(code(v["name"]), v["dtype"], shape(v["shape"])) for v in found]
    first = html("<table>{}</table>", join(rows[:most]) or row("none"))
    number, rest = len(rows) - most, join(rows[most:400])
    fold = html("<details><summary>and {} more</summary><table>{}</table></details>", number, rest) if rest else ""
    return html("<div><h3>{}</h3>{}{}</div>", name, first, fold)
