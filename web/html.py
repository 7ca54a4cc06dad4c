"""HTML where escaping is the default: text is escaped wherever it goes, and only ``Markup`` is HTML.

Templates are literals, filled by ``html`` and never by an f-string; tests/test_architecture.py holds this.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable
from typing import Any, LiteralString

import gradio as gr
from markupsafe import Markup, escape


def html(template: LiteralString, /, *values: object, **named: object) -> Markup:
    """``template`` is HTML of ours. What fills its ``{}`` is escaped unless it is ``Markup``; in attributes these stand
    in quotes."""
    return Markup(template).format(*values, **named)


def join(parts: Iterable[object], between: LiteralString = "") -> Markup:
    return Markup(between).join(parts)


def code(name: object) -> Markup:
    return html("<code>{}</code>", name)


def row(*cells: object) -> Markup:
    """Of a table."""
    return html("<tr>{}</tr>", join(html("<td>{}</td>", cell) for cell in cells))


class _Class(type(gr.HTML)):
    def __new__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any]) -> _Class:
        return ABCMeta.__new__(cls, name, bases, names)  # gradio's would write a .pyi beside this file


class Html(gr.HTML, metaclass=_Class):
    """A place of the page for HTML. A plain ``str`` is shown as text."""

    def postprocess(self, value: str | None) -> str | None:
        return None if value is None else str(escape(value))  # a plain str again: the rest is gradio's
