"""Small pieces of HTML that the tab's views share. Everything from a model is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lib.convert.formats import FORMATS
from web.cards import e

# a click on [data-pick] tells the server what was picked
PICK = """element.addEventListener('click', (event) => {
  const found = event.target.closest('[data-pick]');
  if (found && element.contains(found)) trigger('click', { pick: found.dataset.pick });
});"""
COLOURS = {"proven": "ok", "failed": "error", "unproven": "warning"}
RANDOM = '<span class="mw-chip warning">random weights</span>'


def messages(found: Sequence[str]) -> str:
    return f'<ul class="mw-messages">{"".join(f"<li>{e(m)}</li>" for m in found)}</ul>' if found else ""


def chip(word: str | None) -> str:
    return f'<span class="mw-chip {COLOURS.get(word or "", "")}">{e(word)}</span>' if word else ""


def shape(dims: Iterable[int | str]) -> str:
    return " × ".join(map(str, dims)) or "scalar"


def title(name: str) -> str:
    return FORMATS[name].title if name in FORMATS else name


def head(names: Sequence[str]) -> str:
    return "".join(f"<th>{name}</th>" if name else "<td></td>" for name in names)


def short(name: str, most: int = 80) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def label(source: str) -> str:
    """A source by name as it is shown: a configuration in JSON by its model's type only."""
    kind, _, rest = source.partition(":")
    if not rest.startswith("{"):
        return source
    found = rest.partition('"model_type": "')[2].partition('"')[0]
    return f"{kind}:{found} (a small one)" if found else short(source)


def values(name: str, found: list[dict[str, Any]], most: int = 12) -> str:
    """Inputs or outputs; those beyond ``most`` in a fold."""
    rows = [
        f"<tr><td><code>{e(v['name'])}</code></td><td>{e(v['dtype'])}</td><td>{e(shape(v['shape']))}</td></tr>"
        for v in found
    ]
    first = f"<table>{''.join(rows[:most]) or '<tr><td>none</td></tr>'}</table>"
    rest = f"<details><summary>and {len(rows) - most} more</summary><table>{''.join(rows[most:400])}</table></details>"
    return f"<div><h3>{name}</h3>{first}{rest if len(rows) > most else ''}</div>"
