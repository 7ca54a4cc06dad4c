"""Links between graph, tables and problems, and the card of one node.

A button with ``data-onnx-node`` shows that node in the graph, one with ``data-onnx-weight`` that weight's values, one
with ``data-onnx-convert`` hands the model to the Convert tab.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from lib.reports.words import human, shape_text, size
from web.cards import card
from web.html import html, join

MAX_WEIGHTS = 12  # weights of a node that are linked

# Of the HTML under the graph: it hears of clicks in the frame, and of the links anywhere in this tab.
FROM_GRAPH = """
const say = (name, output) => trigger('click', { pick: { name, output } });
window.addEventListener('message', (event) => {
  const frame = document.querySelector('#onnx-graph iframe');
  if (event.origin === location.origin && frame && event.source === frame.contentWindow && event.data?.workbench === 'node')
    say(String(event.data.name ?? ''), String(event.data.output ?? ''));
});
const tabs = () => [...document.querySelectorAll('#onnx-tabs [role=tab]')];
const tab = (name) => tabs().find((one) => one.textContent.trim() === name)?.click();
document.addEventListener('click', (event) => {
  const found = event.target.closest?.('[data-onnx-node], [data-onnx-weight], [data-onnx-convert], [data-onnx-full]');
  if (!found) return;
  const data = found.dataset, frame = document.querySelector('#onnx-graph iframe');
  if (data.onnxFull) frame?.requestFullscreen?.();
  if (data.onnxConvert) document.querySelector('#onnx-convert')?.click();
  if (data.onnxNode !== undefined) {
    tab('Graph');
    const wanted = { workbench: 'show', name: data.onnxNode, output: data.onnxOutput ?? '' };
    frame?.contentWindow?.postMessage(wanted, location.origin);
    frame?.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    say(wanted.name, wanted.output);
  }
  if (data.onnxWeight !== undefined) trigger('click', { pick: { weight: data.onnxWeight } });
});
"""


def to_node(name: str, output: str = "", words: str = "") -> Markup:
    return html(
        '<button type="button" class="mw-link" data-onnx-node="{}" data-onnx-output="{}" '
        'title="Show in the graph">{}</button>',
        name,
        output,
        words or name,
    )


def to_weight(name: str, words: str = "") -> Markup:
    return html(
        '<button type="button" class="mw-link" data-onnx-weight="{}" title="Show its values">{}</button>',
        name,
        words or name,
    )


def node(report: dict[str, Any], name: str, output: str = "") -> Markup:
    """What the report knows of a node: cost, shapes, weights, problems; "" for one that it does not list."""
    found = next((n for n in report["nodes"] if name and n["scope"] + n["name"] == name), None)
    found = found or next((n for n in report["nodes"] if output and output in n["outputs"]), None)
    if found is None:
        return Markup()
    whole = found["scope"] + found["name"]
    macs = f"{human(found['macs'])} MACs" if found["macs"] is not None else f"MACs not counted: {found['reason']}"
    share = f" ({found['macs'] / report['macs']:.1%} of the total)" if found["macs"] and report["macs"] else ""
    shapes = "; ".join(shape_text(s) for s in found["output_shapes"])
    made = found["outputs"][0] if found["outputs"] else ""
    lines: list[str] = [
        html("<b>{}</b> {}, output shape {}", to_node(whole, made), found["operator"], shapes),
        f"{macs}{share}; weights: {size(found['weight_bytes'])}; output: {size(found['output_bytes'])}",
    ]
    held = {i["name"]: i for i in report["initializers"]}
    weights = [i for i in found["inputs"] if i in held]
    if weights:
        said = join((html("{} {}", to_weight(w), shape_text(held[w]["shape"])) for w in weights[:MAX_WEIGHTS]), ", ")
        lines.append(html("Weights: {}{}", said, ", …" * (len(weights) > MAX_WEIGHTS)))
    lines += [f"{p['severity']}: {p['message']}" for p in report["problems"] if p["where"] in (whole, *found["outputs"])]
    return card(join(lines, "<br>"))


CSS = """
.mw-graph-line { margin: 6px 4px; font-size: 0.88rem; color: var(--body-text-color-subdued); }
.mw-graph-line a { margin-left: 10px; text-decoration: underline; }
.mw-graph-line button { margin-left: 10px; }
"""
