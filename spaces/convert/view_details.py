"""The details of a conversion as HTML tables: steps, outputs, layers, size and speed, messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from web import cards
from web.cards import card
from web.html import code, html, join, row

from . import picture
from .figures import bytes_text, ms, number, percent, seconds_text, size, speed
from .view_shared import chip, table, title
from .view_shared import messages as said

MAX_OUTPUTS = 60  # in the table; the report has all
MAX_LAYERS = 300
STEPS = ("step", "tool", "precision", "time", "", "max abs error", "")
OUTPUTS = ("output", "", "max abs", "of range", "max rel", "cosine", "SQNR, dB", "top-1", "worst slice", "variation", "")
TASK = ("output", "", "measure", "value", "95 % interval", "of range", "cosine", "error / variation", "")
ROUNDED = (
    "These figures cover all test inputs, including random ones, and have no limits. A precision that rounds is compared "
    "with what rounding gives, and tested on its task."
)
LAYERS = ("layer", "operator", "stored as", "bytes", "cost of int8")


def steps(report: dict[str, Any]) -> Markup:
    """Return a table with one row per hop of the route."""
    return card(table("", STEPS, map(_step, report.get("route", []))), kind="mw-scroll")


def _step(hop: dict[str, Any]) -> Markup:
    formats = f"{title(hop['source'])} → {title(hop['target'])}"
    figures = seconds_text(hop.get("seconds")), chip(hop.get("verdict")), number(hop.get("max_abs_error"))
    return row(formats, hop.get("tool", ""), hop.get("precision", ""), *figures, hop.get("reason") or "")


def outputs(report: dict[str, Any]) -> Markup:
    """Return a chart of the errors on a logarithmic axis and a table of all figures."""
    rows_data = report.get("outputs", [])
    rounded = (report.get("faithful") or {}).get("method", "tolerance") != "tolerance"
    rows = (_output(o, rounded) for o in rows_data[:MAX_OUTPUTS])
    notes = html(
        "<p><small>{} <i>Variation</i>: how much the output changes between inputs, as a share of its largest value. An "
        "output that hardly changes proves nothing.</small></p>",
        ROUNDED if rounded else _allowed(report.get("tolerance") or {}),
    )
    top = _task(report.get("quality")), picture.errors(rows_data)
    return card(
        *top, _scroll(table("", OUTPUTS, rows)), _more(rows_data, MAX_OUTPUTS), notes, _three_way(report.get("three_way"))
    )


def _output(o: dict[str, Any], rounded: bool) -> Markup:
    errors = (number(o.get(key)) for key in ("max_abs_error", "range_error", "max_rel_error"))
    similarity = number(o.get("cosine"), 9), number(o.get("sqnr_db")), percent(o.get("top1_agreement"))
    variation = number(o.get("slice_error"), 2), percent(o.get("moves"))
    verdict = "" if rounded else chip(o.get("verdict"))
    return row(code(o["name"]), verdict, *errors, *similarity, *variation, o.get("reason") or "")


def _scroll(table: Markup) -> Markup:
    return html('<div class="mw-scroll">{}</div>', table)


def _more(found: Sequence[Any], most: int) -> Markup:
    return html("<p>and {} more in the report</p>", len(found) - most) if len(found) > most else Markup()


def _task(quality: dict[str, Any] | None) -> Markup:
    """Return a table of the quality on the task, one row per output."""
    if not quality or not quality.get("outputs"):
        return Markup()
    rows = _scroll(table("", TASK, map(_quality_row, quality["outputs"][:MAX_OUTPUTS])))
    return html("<p>On {} {}:</p>{}", quality.get("inputs"), quality.get("on"), rows)


def _quality_row(o: dict[str, Any]) -> Markup:
    verdict = cards.chip("good", "ok") if o.get("good") else cards.chip("not good", "error")
    value = number(o["value"]) if "dB" in o["metric"] else percent(o["value"])
    figures = number(o.get("range_error")), number(o.get("cosine"), 6), percent(o.get("error_to_variation"))
    return row(code(o["name"]), verdict, o["metric"], value, _interval(o.get("interval")), *figures, o.get("reason") or "")


def _interval(found: Any) -> str:
    return f"{percent(found[0])} to {percent(found[1])}" if found else "–"


def _allowed(tolerance: dict[str, Any]) -> str:
    """Return the tolerance as a sentence, or "" if it is unknown."""
    at_most, at_least = [], []
    if tolerance.get("rtol") is not None and tolerance.get("atol") is not None:
        exact = tolerance["rtol"] == tolerance["atol"] == 0
        bound = "0" if exact else f"{number(tolerance['rtol'])} × value + {number(tolerance['atol'])} × largest value"
        at_most.append(f"an error of {bound}")
    if tolerance.get("slice"):
        at_most.append(f"{number(tolerance['slice'])} × the variation of a slice")
    for key, pattern in (
        ("sqnr_db", "SQNR {} dB"),
        ("cosine", "cosine {}"),
        ("top1", "top-1 {}"),
        ("moves", "variation {}"),
    ):
        if tolerance.get(key):
            at_least.append(pattern.format(number(tolerance[key])))
    parts = [f"allowed: {', '.join(at_most)}"] * bool(at_most) + [f"required: {', '.join(at_least)}"] * bool(at_least)
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _three_way(found: dict[str, Any] | None) -> Markup:
    """Return the cross-check of the source, onnxruntime and onnx's reference evaluator."""
    if not found:
        return Markup()
    parts = []
    for key, text in (
        ("reference", "the source and the result in onnx's reference evaluator"),
        ("runtimes", "the result in onnxruntime and in the reference evaluator"),
    ):
        pair = found.get(key)
        if isinstance(pair, dict) and pair.get("max_abs_error") is not None:
            parts.append(f"{text} differ by at most {number(pair['max_abs_error'])}")
    if parts:
        return html("<p>Cross-check on one set of ordinary inputs: {}.</p>", "; ".join(parts))
    reason = found.get("why_not")
    return html("<p>Not checked against onnx's reference evaluator: {}</p>", reason) if reason else Markup()


def layers(report: dict[str, Any]) -> Markup:
    """Return the cost of int8 per layer and how the ranges were chosen. Empty if the report has neither."""
    layer_rows, chosen = report.get("layers") or [], report.get("chosen") or {}
    if not layer_rows and not chosen:
        return Markup()
    rows = table("", LAYERS, map(_layer, layer_rows[:MAX_LAYERS]))
    layer_table = html('<div class="mw-scroll mw-layers">{}</div>', rows) if layer_rows else ""
    return card(_chosen(chosen), layer_table, _more(layer_rows, MAX_LAYERS))


def _layer(one: dict[str, Any]) -> Markup:
    storage, size = _kept(str(one.get("kept", ""))), bytes_text(one.get("bytes") or None)
    return row(code(one.get("layer", "")), one.get("operator", ""), storage, size, _cost(one))


def _kept(word: str) -> Markup:
    return cards.chip(word, "" if word.startswith("float") else "ok")


def _cost(one: dict[str, Any]) -> str:
    if one.get("agreement") is not None:
        return f"the same top class in {percent(one['agreement'])}"
    return "–" if one.get("sqnr_db") is None else f"SQNR {number(one['sqnr_db'])} dB"


def _chosen(chosen: dict[str, Any]) -> Markup:
    """Return how the ranges were chosen. ``chosen``: the method, and each method's figures on the calibration inputs."""
    if not chosen.get("method"):
        return Markup()
    results = []
    for name, result in (chosen.get("measured") or {}).items():
        figures = result.items() if isinstance(result, dict) else ()
        texts = (
            f"{key.removesuffix('_db').replace('sqnr', 'SQNR').replace('_', ' ')} {number(v)}{' dB' * key.endswith('_db')}"
            for key, v in figures
        )
        results.append(f"{name}: {', '.join(texts)}")
    measured = f" ({'; '.join(results)})" if results else ""
    return html("<p>Ranges from <b>{}</b>{}.</p>", chosen["method"], measured)


def sizes(report: dict[str, Any]) -> Markup:
    """Return a table of size and latency before and after."""
    source, target = report.get("source", {}), report.get("target", {})
    rows = [row("", source.get("title", "source"), target.get("title", "target"), "")]
    size_change = size(report.get("size_ratio"))
    rows.append(row("size", bytes_text(source.get("bytes")), bytes_text(target.get("bytes")), size_change))
    processes = (
        ""
        if report.get("same_process") is None
        else ", in one process"
        if report["same_process"]
        else ", each in its own process"
    )
    speedup = speed(report.get("latency_ratio"))
    rows.append(row(f"median latency{processes}", ms(source.get("median_ms")), ms(target.get("median_ms")), speedup))
    return card(html('<table class="mw-grid mw-sizes">{}</table>', join(rows)), kind="mw-scroll")


def messages(report: dict[str, Any]) -> Markup:
    """Return the tools' messages, their versions and the seeds."""
    message_list = said(report.get("messages", [])) or Markup("<p>The tools reported nothing.</p>")
    versions = ", ".join(f"{k} {v}" for k, v in (report.get("versions") or {}).items())
    seeds = ", ".join(map(str, report.get("seeds") or []))
    return card(message_list, html("<p><small>{}{}</small></p>", versions, f"; seeds {seeds}" if seeds else ""))


def pushed(address: str) -> Markup:
    link = html('<a href="{0}" target="_blank" rel="noopener">{0}</a>', address)
    return card(cards.chip("pushed", "ok"), " ", link)
