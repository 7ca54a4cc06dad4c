"""Links between graph, tables and problems, and the card of a node.

A button with ``data-onnx-node`` shows that node in the graph, ``data-onnx-weight`` shows that weight's values, and
``data-onnx-convert`` hands the model to the Convert tab.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from lib.reports.words import human, shape_text, size
from web.cards import card
from web.html import html, join

MAX_WEIGHTS = 12  # linked weights per node

# Script of the HTML under the graph: handles clicks on nodes in the iframe and on links anywhere in this tab.
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
    """Return the card of a node: cost, shapes, weights and problems. Empty if the report does not list the node."""
    entry = next((n for n in report["nodes"] if name and n["scope"] + n["name"] == name), None)
    entry = entry or next((n for n in report["nodes"] if output and output in n["outputs"]), None)
    if entry is None:
        return Markup()
    full_name = entry["scope"] + entry["name"]
    macs = f"{human(entry['macs'])} MACs" if entry["macs"] is not None else f"MACs not counted: {entry['reason']}"
    share = f" ({entry['macs'] / report['macs']:.1%} of the total)" if entry["macs"] and report["macs"] else ""
    shapes = "; ".join(shape_text(s) for s in entry["output_shapes"])
    output_name = entry["outputs"][0] if entry["outputs"] else ""
    lines: list[str] = [
        html("<b>{}</b> {}, output shape {}", to_node(full_name, output_name), entry["operator"], shapes),
        f"{macs}{share}; weights: {size(entry['weight_bytes'])}; output: {size(entry['output_bytes'])}",
    ]
    initializers = {i["name"]: i for i in report["initializers"]}
    weights = [i for i in entry["inputs"] if i in initializers]
    if weights:
        weight_links = join(
            (html("{} {}", to_weight(w), shape_text(initializers[w]["shape"])) for w in weights[:MAX_WEIGHTS]), ", "
        )
        lines.append(html("Weights: {}{}", weight_links, ", …" * (len(weights) > MAX_WEIGHTS)))
    lines += [f"{p['severity']}: {p['message']}" for p in report["problems"] if p["where"] in (full_name, *entry["outputs"])]
    return card(join(lines, "<br>"))


CSS = """
.mw-graph-line { margin: 6px 4px; font-size: 0.88rem; color: var(--body-text-color-subdued); }
.mw-graph-line a { margin-left: 10px; text-decoration: underline; }
.mw-graph-line button { margin-left: 10px; }
"""
