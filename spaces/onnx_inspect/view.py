"""Render reports as HTML, tables and plots."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd
from markupsafe import Markup

from lib.onnx_inspect import report as onnx_words
from lib.onnx_inspect.report import incomplete
from lib.reports.words import human, plural, shape_text, size
from lib.tflite_inspect import report as tflite_words
from web.cards import card, chip
from web.html import code, html, join, row

from . import view_links
from .formats import ONNX, TFLITE

NODE_COLUMNS = ["#", "node", "operator", "output", "M MACs", "MACs %", "k weights", "output kB", "FLOPs/byte"]
WEIGHT_COLUMNS = ["name", "dtype", "shape", "k elements", "kB", "uses", "used by"]
# the conversion that fixes a problem, by rule
MENDED = {
    "no-op": "ONNX, slimmed",
    "dead-node": "ONNX, slimmed",
    "unused-initializer": "ONNX, slimmed",
    "duplicate-initializer": "ONNX, slimmed",
    "old-opset": "ONNX, another opset",
    "newer-than-onnxruntime": "ONNX, another opset",
}
CHANGE_COLUMNS = ["kind", "change", "name", "before", "after"]
MAX_ROWS = 5000  # per table on the page; the report has all
MOSTLY = 0.9  # share of the MACs in one operator above which the plot shows nodes
BY_CONVENTION = Markup("<small>By convention, element-wise operators, normalization and pooling have no MACs.</small>")
IDLE = Markup("Drop an <b>.onnx</b> file (with its external data, if it has any) or a <b>.tflite</b>, or try an example.")
WORDS: dict[str, Any] = {ONNX: onnx_words, TFLITE: tflite_words}


def summary(report: dict[str, Any]) -> Markup:
    """Return the card with the verdict, the facts, the inputs and the outputs."""
    is_incomplete, describer = incomplete(report), WORDS[report["format"]]
    state = "ok" if report["valid"] else "warning" if is_incomplete else "error"
    word = "valid" if report["valid"] else "incomplete" if is_incomplete else "not valid"
    details = html("<p>{}</p>", sentence) if (sentence := describer.verdict(report)) != "Valid." else ""
    rows = join(html("<dt>{}</dt><dd>{}</dd>", k, v) for k, v in describer.facts(report).items())
    sides = _values("Inputs", report["inputs"]), _values("Outputs", report["outputs"])
    return card(
        html('<p class="mw-verdict">{} <b>{}</b></p>', chip(word, state), report["file"]["name"]),
        details,
        html('<dl class="mw-facts">{}</dl><div class="mw-values">{}{}</div>', rows, *sides),
        say=f"{report['file']['name']}: {word}.",  # else the last quarter of the progress would be the last that is heard
    )


def _values(title: str, values: list[dict[str, Any]]) -> Markup:
    rows = [row(code(v["name"]), v["dtype"], html("{}{}", shape_text(v["shape"]), _scaled(v))) for v in values[:40]]
    rest = html("<tr><td colspan=3>and {} more in the report</td></tr>", len(values) - 40) if len(values) > 40 else ""
    return html("<div><h3>{}</h3><table>{}{}</table></div>", title, join(rows) or row("none"), rest)


def _scaled(value: dict[str, Any]) -> Markup:
    text = tflite_words.quantised(value.get("quantization"))
    return html("<br><small>{}</small>", text) if text else Markup()


def _convert_link(problem: dict[str, Any]) -> Markup:
    """Return a button to the Convert tab if a conversion fixes the problem, else empty markup."""
    if (target := MENDED.get(problem["rule"])) is None:
        return Markup()
    return html(' <button type="button" class="mw-link" data-onnx-convert="1">Convert to {}</button>', target)


def built(summary: Markup) -> Markup:
    """Repeat the summary next to the text, as the main one may be out of view."""
    return card(chip("built"), " This is now the open model.") + summary


def problems(report: dict[str, Any], converts: bool = False) -> Markup:
    """Return a table of problems: severity, place, message and fix. ``converts``: whether there is a Convert tab."""
    if not report["problems"]:
        return card(chip("none", "ok"), " No errors, warnings or notes.")
    outputs = {n["scope"] + n["name"]: (n["outputs"] or [""])[0] for n in report["nodes"]}
    weights = {i["name"] for i in report["initializers"]}

    def where(name: str) -> Markup:
        short = name if len(name) <= 120 else f"{name[:120]}…"
        if name in outputs:
            return view_links.to_node(name, outputs[name], short)
        return view_links.to_weight(name, short) if name in weights else code(short)

    def words(p: dict[str, Any]) -> Markup:
        return html("{}<br><small>{}{}</small>", p["message"], p["fix"], _convert_link(p) if converts else "")

    rows = (row(chip(p["severity"], p["severity"]), where(p["where"]), words(p)) for p in report["problems"])
    return card(html('<table class="mw-problems">{}</table>', join(rows)), kind="mw-scroll")


def cost(report: dict[str, Any]) -> Markup:
    """Return the card of MACs and peak memory, with what is not counted."""
    macs = report["macs"]
    lines: list[str] = [html("<b>{} MACs</b> ({:,}); one MAC is two FLOPs.", human(macs), macs)]
    if report["symbols"]:
        lines.append(f"Counted with {report['sizes_note']} Change them below.")
    elif report["sizes_note"]:
        lines.append(report["sizes_note"])
    for group in report["not_counted"]:
        lines.append(html("Not counted: {nodes} × <code>{operator}</code>, {reason}.", **group))
    memory = report["memory"]
    unknown = plural(memory["unknown"], "value")
    bound_note = f" This is a lower bound: the sizes of {unknown} are unknown." if memory["unknown"] else ""
    peak = size(memory["peak_bytes"])
    lines.append(html("Peak memory of inputs and activations: <b>{}</b>, at {}.{}", peak, _at(report), bound_note))
    lines.append(BY_CONVENTION)
    return card(join(lines, "<br>"))


def _at(report: dict[str, Any]) -> Markup:
    name = report["memory"]["at"]
    outputs = next((n["outputs"] for n in report["nodes"] if n["name"] == name and not n["scope"]), None)
    return view_links.to_node(name, outputs[0] if outputs else "") if outputs is not None else code(name)


def node_table(report: dict[str, Any]) -> pd.DataFrame:
    """Return the table of nodes, costliest first."""
    total = report["macs"] or 1
    nodes = sorted(report["nodes"], key=lambda n: -(n["macs"] or 0))[:MAX_ROWS]
    rows = [
        [
            n["index"],
            n["scope"] + n["name"],
            n["operator"],
            "; ".join(shape_text(s) for s in n["output_shapes"]),
            part(n["macs"], 1e6),
            None if n["macs"] is None else round(100 * n["macs"] / total, 2),
            part(n["parameters"], 1e3),
            part(n["output_bytes"], 1e3),
            n["intensity"],
        ]
        for n in nodes
    ]
    return pd.DataFrame(rows, columns=NODE_COLUMNS)


def operator_plot(report: dict[str, Any]) -> tuple[pd.DataFrame, str]:
    """Return the ten largest MAC counts and a title: by operator, or by node if one operator has almost all."""
    rows, title = list(report["macs_by_operator"].items())[:10], "MACs by operator"
    costly = sorted((n for n in report["nodes"] if n["macs"]), key=lambda n: -n["macs"])[:10]
    # a convolutional network would have a single bar
    if rows and rows[0][1] > MOSTLY * report["macs"] and len(costly) > 2:
        rows, title = [(f"{k + 1}: {n['name'][-20:]}", n["macs"]) for k, n in enumerate(costly)], "MACs by node"
    return pd.DataFrame(rows, columns=["where", "MACs"]), title


def part(value: float | None, unit: float) -> float | None:
    """Return ``value`` in ``unit``s with four digits, as a number so that tables sort it correctly."""
    return None if value is None else float(f"{value / unit:.4g}")


def memory_plot(report: dict[str, Any]) -> pd.DataFrame:
    """Return the MB in use at each node, max-pooled to about 500 points."""
    memory_bytes = report["memory"]["over_nodes"]
    step = max(1, len(memory_bytes) // 500)
    rows = [(k, max(memory_bytes[k : k + step]) / 1e6) for k in range(0, len(memory_bytes), step)]
    return pd.DataFrame(rows, columns=["node", "MB in use"])


def weight_table(report: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for i in report["initializers"][:MAX_ROWS]:
        amounts = part(i["count"], 1e3), part(i["bytes"], 1e3), i["uses"]
        rows.append([i["name"], i["dtype"], shape_text(i["shape"]), *amounts, ", ".join(i["used_by"])])
    return pd.DataFrame(rows, columns=WEIGHT_COLUMNS)


def tensor(found: dict[str, Any], users: list[str] | None = None) -> Markup:
    description = f" {found['dtype']} {shape_text(found['shape'])}, {size(found['bytes'])}"
    parts: list[str] = [html("<b>{}</b>{}", code(found["name"]), description)]
    if quantization := tflite_words.quantised(found.get("quantization")):
        parts.append(f"quantized: {quantization}")
    if "minimum" in found:
        parts.append(f"{found['minimum']:.5g} to {found['maximum']:.5g}, mean {found['mean']:.5g}, std {found['std']:.5g}")
    if "zeros" in found:
        parts.append(
            f"{found['sparsity']:.1%} zeros ({found['zeros']:,}), {found['nan']:,} NaN, {found['infinite']:,} infinite"
        )
    parts.append("first values: " + ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in found["values"]))
    if users:
        parts.append(html("used by {}", join(map(view_links.to_node, users), ", ")))
    return card(join(parts, "<br>"))


def histogram(found: dict[str, Any]) -> pd.DataFrame | None:
    if "histogram" not in found:
        return None
    edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    return pd.DataFrame({"value": middles, "count": counts})


def changes(found: dict[str, Any]) -> Markup:
    if found["same"]:
        return card(chip("same", "ok"), " No differences.")
    parts = [
        f"{n} {kind}{'s' * (n > 1)} {change}"
        for kind, by_change in found["counts"].items()
        for change, n in by_change.items()
    ]
    return card(chip("different", "warning"), f" {', '.join(parts)}.")


def change_table(found: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([[r[c] for c in CHANGE_COLUMNS] for r in found["rows"]], columns=CHANGE_COLUMNS)


CSS = """
.mw-problems small { color: var(--body-text-color-subdued); }
.mw-problems td { border-top: 1px solid var(--border-color-primary) !important; }
.mw-problems td { overflow-wrap: normal; }
.mw-problems td:nth-child(2) { min-width: 6em; max-width: 280px; overflow-wrap: anywhere; }
.mw-problems td:nth-child(1), .mw-problems code { white-space: nowrap; } .mw-problems code { white-space: normal; }
.mw-problems { width: 100% !important; } .mw-problems td:nth-child(3) { width: 75%; }
body:has(#onnx-summary .mw-open-failed) #onnx-tabs { opacity: 0.45; }
.mw-problems tr:first-child td { border-top: 0 !important; }
@media (max-width: 768px) { .mw-problems tr { display: grid; grid-template-columns: auto 1fr; }
  .mw-problems td:nth-child(2) { max-width: none; min-width: 0; }
  .mw-problems td:nth-child(3) { grid-column: 1 / -1; width: auto; border-top: 0 !important; overflow-wrap: anywhere; } }
.mw-array { font-size: 0.88rem; max-height: 12em; overflow: auto; }
"""
