"""HTML that is escaped by default: only ``Markup`` is treated as HTML.

Templates are literals, filled by ``html`` and never by an f-string; tests/web/test_html.py enforces this.
"""

from __future__ import annotations

import re
from abc import ABCMeta
from collections.abc import Iterable
from functools import cache
from itertools import count
from string import Formatter
from typing import Any, LiteralString

import gradio as gr
from markupsafe import Markup, escape


def html(template: LiteralString, /, *values: object, **named: object) -> Markup:
    """Fills ``template``, which is trusted HTML. Values for its ``{}`` are escaped unless they are ``Markup``.

    Raises ValueError for text inside a tag but outside quotes, where escaping does not help.
    """
    for place in _bare(template):
        value = values[place] if isinstance(place, int) else named[place]
        if value and not isinstance(value, Markup):
            raise ValueError(f"{value!r} stands outside quotes in {template!r}. Put quotes around it, or give Markup.")
    return Markup(template).format(*values, **named)


@cache
def _bare(template: str) -> list[int | str]:
    """Returns the positions or names of placeholders inside a tag but outside quotes."""
    placeholders: list[int | str] = []
    in_tag = in_quotes = False
    numbers = count()
    for text, name, _, _ in Formatter().parse(template):
        for character in text:
            if character == '"' and in_tag:
                in_quotes = not in_quotes
            elif character in "<>" and not in_quotes:
                in_tag = character == "<"
        if name is None:
            continue
        place = re.split(r"[.\[]", name)[0] or str(next(numbers))
        if in_tag and not in_quotes:
            placeholders.append(int(place) if place.isdecimal() else place)
    return placeholders


def join(parts: Iterable[object], between: LiteralString = "") -> Markup:
    return Markup(between).join(parts)


def code(name: object) -> Markup:
    return Markup(f"<code>{escape(name)}</code>")


def row(*cells: object) -> Markup:
    """A table row. This and ``code`` are ten times faster than ``html``, which matters for long tables."""
    return Markup(f"<tr><td>{'</td><td>'.join(map(escape, cells))}</td></tr>")


class _Class(type(gr.HTML)):
    def __new__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any]) -> _Class:
        return ABCMeta.__new__(cls, name, bases, names)  # Gradio's metaclass would write a .pyi next to this file


class Html(gr.HTML, metaclass=_Class):
    """An HTML component. Plain ``str`` values are escaped."""

    def postprocess(self, value: str | None) -> str | None:
        return None if value is None else str(escape(value))  # a plain str, as Gradio expects
