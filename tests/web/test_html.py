"""Escaping is the default: what ``web/html.py`` does at run time, and that no HTML is built past it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client
from markupsafe import Markup

from web.cards import card, chip, idle
from web.html import Html, html, join, row

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "web").glob("*.py"), *(ROOT / "spaces").rglob("*.py")])
BAD = "<img src=x onerror=\"alert('&')\">"
SAFE = "&lt;img src=x onerror=&#34;alert(&#39;&amp;&#39;)&#34;&gt;"
TAG = re.compile(r"</?[a-zA-Z]")
UNQUOTED = re.compile(r"=\s*\{")
# by module: text with tags that is no HTML of ours, and HTML of ours that is no literal
PATTERNS = {"web/addresses.py": 2, "web/netron.py": 3}  # what is looked for in pages of others
READ = {"web/addresses.py": ["Markup(css)", "Markup(SCRIPT.read_text(encoding='utf-8'))"]}
OWN = "web/html.py"


def test_text_is_escaped_once_and_markup_is_not() -> None:
    inner = html('<b title="{}">{}</b>', BAD, BAD)
    assert inner == f'<b title="{SAFE}">{SAFE}</b>' and isinstance(inner, Markup)
    assert html("<p>{}</p>", inner) == f"<p>{inner}</p>"
    assert join([BAD, inner, 7], "<br>") == f"{SAFE}<br>{inner}<br>7"
    assert row(BAD, inner) == f"<tr><td>{SAFE}</td><td>{inner}</td></tr>"
    assert card(BAD, inner, kind=BAD, say=BAD) == f'<div class="mw-card {SAFE}" data-say="{SAFE}">{SAFE}{inner}</div>'
    assert chip(BAD, BAD) == f'<span class="mw-chip {SAFE}">{SAFE}</span>' and SAFE in idle(BAD)
    assert html("{:,} {:.1f} {x[name]}", 1234, 0.25, x={"name": BAD}) == f"1,234 0.2 {SAFE}"


@pytest.mark.parametrize("template", ["<details{}>", "<a href={}>", '<a href="/x" {}>', "<b>x</b><i {}></i>", "<{}>"])
def test_text_cannot_stand_in_a_tag_outside_quotes(template: str) -> None:
    with pytest.raises(ValueError, match="outside quotes"):
        html(template, "onclick=alert(1)")  # nothing in it to escape
    with pytest.raises(ValueError, match="outside quotes"):
        html(template.replace("{}", "{name}"), name="x")
    assert html(template, Markup("open")) == template.replace("{}", "open") and html(template, "")


def test_text_beside_a_tag_may_have_any_sign() -> None:
    assert html('<p class="{0}">5 > 3 "{1}" {0}</p>', "x", "y") == '<p class="x">5 > 3 "y" x</p>'


def test_a_place_shows_plain_text_as_text_whatever_way_it_comes() -> None:
    with gr.Blocks() as demo:
        given, place = gr.Textbox(), Html("<b>plain</b>")
        marked = Html(html("<b>{}</b>", "<ours>"))
        ways = {
            "text": lambda words: words,
            "html": lambda words: html("<i>{}</i>", words),
            "update": lambda words: gr.update(value=words, visible=True),
            "component": lambda words: gr.HTML(value=words, visible=True),
            "nothing": lambda words: None,
        }
        for name, way in ways.items():
            given.change(way, given, place, api_name=name)
    assert place.value == "&lt;b&gt;plain&lt;/b&gt;" and marked.value == "<b>&lt;ours&gt;</b>" and type(marked.value) is str
    assert place.get_block_name() == "html" and not (ROOT / "web" / "html.pyi").exists()
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(address, verbose=False)
        found = {name: client.predict(BAD, api_name=f"/{name}") for name in ways}
    finally:
        demo.close()
    assert found["text"] == SAFE and found["html"] == f"<i>{SAFE}</i>" and found["nothing"] is None
    assert found["update"]["value"] == found["component"]["value"] == SAFE


def past_escaping(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, kind and source of each piece of HTML that is not a literal for ``html``, ``join`` or ``Markup``."""
    tree, taken = ast.parse(source), set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            taken.add(body[0].value)  # a docstring
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).removeprefix("html.").removeprefix("markupsafe.")
        if called == "gr.HTML":
            yield node.lineno, "component", ast.unparse(node)
        for template in {"html": node.args[:1], "Markup": node.args[:1], "join": node.args[1:2]}.get(called, []):
            taken.add(template)
            if not (isinstance(template, ast.Constant) and isinstance(template.value, str)):
                yield node.lineno, "no literal", ast.unparse(node)
            elif UNQUOTED.search(template.value):
                yield node.lineno, "no quotes", ast.unparse(node)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in taken and TAG.search(node.value):
            yield node.lineno, "tag", node.value


def test_every_piece_of_html_is_a_literal_that_escapes_what_fills_it() -> None:
    found, templates = [], 0
    for path in MODULES:
        name, source = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        if name == OWN:
            continue
        templates += len(re.findall(r"\bhtml\(", source))
        faults = list(past_escaping(source))
        kinds = [kind for _, kind, _ in faults]
        if kinds.count("tag") == PATTERNS.get(name, 0):
            faults = [fault for fault in faults if fault[1] != "tag"]
        found += [(name, *fault) for fault in faults if fault[2] not in READ.get(name, ())]
    assert found == [] and templates > 150


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('x = f"<b>{name}</b>"', "tag"),
        ('x = "<b>" + name + "</b>"', "tag"),
        ('x = "<b>%s</b>" % name', "tag"),
        ('x = "<b>{}</b>".format(name)', "tag"),
        ('B = "<b>"\nx = f"{B}{name}"', "tag"),
        ('x = "".join(["<li>", name])', "tag"),
        ('x = html(f"<b>{name}</b>")', "no literal"),
        ('x = Markup("<b>%s</b>" % name)', "no literal"),
        ("x = Markup(name)", "no literal"),
        ("x = markupsafe.Markup(name)", "no literal"),
        ("x = html.html(name)", "no literal"),
        ("x = join(names, name)", "no literal"),
        ("x = html('<b title={}></b>', name)", "no quotes"),
        ("x = gr.HTML(name)", "component"),
    ],
)
def test_the_rule_can_fail(line: str, kind: str) -> None:
    assert kind in [found for _, found, _ in past_escaping(line)]


def test_the_rule_lets_pass_what_escapes() -> None:
    fine = (
        '"""Of <b>."""\nx = html("<b title=\\"{}\\">{}</b>", y) + join(z, "<br>") + Markup("<i>")\ndef f():\n    """<p>"""'
    )
    assert list(past_escaping(fine)) == []
