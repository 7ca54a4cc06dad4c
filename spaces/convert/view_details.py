"""The details of a conversion as HTML tables: steps, outputs, layers, size and speed, messages."""

from __future__ import annotations

from typing import Any

from web.cards import e

from . import picture
from .figures import bytes_text, ms, number, percent, seconds_text, size, speed
from .view_shared import chip, head, title
from .view_shared import messages as said

MOST_OUTPUTS = 60  # in the table; the report has all
MOST_LAYERS = 300
STEPS = ("step", "tool", "precision", "time", "", "max abs error", "")
OUTPUTS = ("output", "", "max abs", "of range", "max rel", "cosine", "SQNR, dB", "top-1", "worst slice", "variation", "")
TASK = ("output", "", "measure", "value", "95 % interval", "of range", "cosine", "error / variation", "")
ROUNDED = (
    "These figures cover all test inputs, including random ones, and have no limits. A precision that rounds is compared "
    "with what rounding gives, and tested on its task."
)
LAYERS = ("layer", "operator", "stored as", "bytes", "cost of int8")


def steps(report: dict[str, Any]) -> str:
    """One row a hop."""
    rows = "".join(
        f"<tr><td>{e(title(hop['source']))} → {e(title(hop['target']))}</td><td>{e(hop.get('tool', ''))}</td>"
        f"<td>{e(hop.get('precision', ''))}</td><td>{seconds_text(hop.get('seconds'))}</td>"
        f"<td>{chip(hop.get('verdict'))}</td><td>{number(hop.get('max_abs_error'))}</td>"
        f"<td>{e(hop.get('reason') or '')}</td></tr>"
        for hop in report.get("route", [])
    )
    return f'<div class="mw-card mw-scroll"><table class="mw-grid"><tr>{head(STEPS)}</tr>{rows}</table></div>'


def outputs(report: dict[str, Any]) -> str:
    """A picture of the errors on a logarithmic axis, then every figure."""
    found = report.get("outputs", [])
    rounded = (report.get("faithful") or {}).get("method", "tolerance") != "tolerance"
    rows = "".join(
        f"<tr><td><code>{e(o['name'])}</code></td><td>{'' if rounded else chip(o.get('verdict'))}</td>"
        f"<td>{number(o.get('max_abs_error'))}</td><td>{number(o.get('range_error'))}</td><td>{number(o.get('max_rel_error'))}</td>"
        f"<td>{number(o.get('cosine'), 9)}</td><td>{number(o.get('sqnr_db'))}</td>"
        f"<td>{percent(o.get('top1_agreement'))}</td><td>{number(o.get('slice_error'), 2)}</td>"
        f"<td>{percent(o.get('moves'))}</td>"
        f"<td>{e(o.get('reason') or '')}</td></tr>"
        for o in found[:MOST_OUTPUTS]
    )
    more = f"<p>and {len(found) - MOST_OUTPUTS} more in the report</p>" if len(found) > MOST_OUTPUTS else ""
    allowed = ROUNDED if rounded else _allowed(report.get("tolerance") or {})
    notes = (
        f"<p><small>{e(allowed)} <i>Variation</i>: how much the output changes "
        "between inputs, as a share of its largest value. An output that hardly changes proves nothing.</small></p>"
    )
    table = f'<div class="mw-scroll"><table class="mw-grid"><tr>{head(OUTPUTS)}</tr>{rows}</table></div>{more}'
    first = f"{_task(report.get('quality'))}{picture.errors(found)}"
    return f'<div class="mw-card">{first}{table}{notes}{_three_way(report.get("three_way"))}</div>'


def _task(quality: dict[str, Any] | None) -> str:
    """How well it does its task, output by output."""
    if not quality or not quality.get("outputs"):
        return ""
    rows = "".join(
        f"<tr><td><code>{e(o['name'])}</code></td><td>{_kept_up(o)}</td><td>{e(o['metric'])}</td>"
        f"<td>{number(o['value']) if 'dB' in o['metric'] else percent(o['value'])}</td>"
        f"<td>{_interval(o.get('interval'))}</td>"
        f"<td>{number(o.get('range_error'))}</td><td>{number(o.get('cosine'), 6)}</td>"
        f"<td>{percent(o.get('error_to_variation'))}</td><td>{e(o.get('reason') or '')}</td></tr>"
        for o in quality["outputs"][:MOST_OUTPUTS]
    )
    on = f"<p>On {quality.get('inputs')} {e(quality.get('on'))}:</p>"
    return f'{on}<div class="mw-scroll"><table class="mw-grid"><tr>{head(TASK)}</tr>{rows}</table></div>'


def _kept_up(one: dict[str, Any]) -> str:
    return f'<span class="mw-chip {"ok" if one.get("good") else "error"}">{"good" if one.get("good") else "not good"}</span>'


def _interval(found: Any) -> str:
    return f"{percent(found[0])} to {percent(found[1])}" if found else "–"


def _allowed(tolerance: dict[str, Any]) -> str:
    """The tolerance in words; "" for one that is not known."""
    at_most, at_least = [], []
    if tolerance.get("rtol") is not None and tolerance.get("atol") is not None:
        exact = tolerance["rtol"] == tolerance["atol"] == 0
        each = "0" if exact else f"{number(tolerance['rtol'])} × value + {number(tolerance['atol'])} × largest value"
        at_most.append(f"an error of {each}")
    if tolerance.get("slice"):
        at_most.append(f"{number(tolerance['slice'])} × the variation of a slice")
    for key, words in (("sqnr_db", "SQNR {} dB"), ("cosine", "cosine {}"), ("top1", "top-1 {}"), ("moves", "variation {}")):
        if tolerance.get(key):
            at_least.append(words.format(number(tolerance[key])))
    parts = [f"allowed: {', '.join(at_most)}"] * bool(at_most) + [f"required: {', '.join(at_least)}"] * bool(at_least)
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _three_way(found: dict[str, Any] | None) -> str:
    """Source, onnxruntime and onnx's reference evaluator."""
    if not found:
        return ""
    parts = []
    for key, words in (
        ("reference", "the source and the result in onnx's reference evaluator"),
        ("runtimes", "the result in onnxruntime and in the reference evaluator"),
    ):
        one = found.get(key)
        if isinstance(one, dict) and one.get("max_abs_error") is not None:
            parts.append(f"{words} differ by at most {number(one['max_abs_error'])}")
    if not parts:
        why = found.get("why_not")
        return f"<p>Not checked against onnx's reference evaluator: {e(why)}</p>" if why else ""
    return f"<p>Cross-check on one set of ordinary inputs: {e('; '.join(parts))}.</p>"


def layers(report: dict[str, Any]) -> str:
    """What int8 costs each layer, and how the ranges were chosen; "" where nothing is known of layers."""
    found, chosen = report.get("layers") or [], report.get("chosen") or {}
    if not found and not chosen:
        return ""
    rows = "".join(
        f"<tr><td><code>{e(one.get('layer', ''))}</code></td><td>{e(one.get('operator', ''))}</td>"
        f"<td>{_kept(str(one.get('kept', '')))}</td><td>{bytes_text(one.get('bytes') or None)}</td>"
        f"<td>{_cost(one)}</td></tr>"
        for one in found[:MOST_LAYERS]
    )
    more = f"<p>and {len(found) - MOST_LAYERS} more in the report</p>" if len(found) > MOST_LAYERS else ""
    table = (
        f'<div class="mw-scroll mw-layers"><table class="mw-grid"><tr>{head(LAYERS)}</tr>{rows}</table></div>'
        if found
        else ""
    )
    return f'<div class="mw-card">{_chosen(chosen)}{table}{more}</div>'


def _kept(word: str) -> str:
    return f'<span class="mw-chip {"" if word.startswith("float") else "ok"}">{e(word)}</span>'


def _cost(one: dict[str, Any]) -> str:
    if one.get("agreement") is not None:
        return f"the same top class in {percent(one['agreement'])}"
    return "–" if one.get("sqnr_db") is None else f"SQNR {number(one['sqnr_db'])} dB"


def _chosen(chosen: dict[str, Any]) -> str:
    """``chosen``: the method of ranges, and what each method gave on the calibration's inputs."""
    if not chosen.get("method"):
        return ""
    tried = []
    for name, one in (chosen.get("measured") or {}).items():
        figures = one.items() if isinstance(one, dict) else ()
        words = (
            f"{what.removesuffix('_db').replace('sqnr', 'SQNR').replace('_', ' ')} {number(v)}{' dB' * what.endswith('_db')}"
            for what, v in figures
        )
        tried.append(f"{e(name)}: {e(', '.join(words))}")
    measured = f" ({'; '.join(tried)})" if tried else ""
    return f"<p>Ranges from <b>{e(chosen['method'])}</b>{measured}.</p>"


def sizes(report: dict[str, Any]) -> str:
    """Size and latency before and after."""
    source, target = report.get("source", {}), report.get("target", {})
    rows = [("", e(source.get("title", "source")), e(target.get("title", "target")), "")]
    smaller = size(report.get("size_ratio"))
    rows.append(("size", bytes_text(source.get("bytes")), bytes_text(target.get("bytes")), smaller))
    where = (
        ""
        if report.get("same_process") is None
        else ", in one process"
        if report["same_process"]
        else ", each in its own process"
    )
    faster = speed(report.get("latency_ratio"))
    rows.append((f"median latency{where}", ms(source.get("median_ms")), ms(target.get("median_ms")), faster))
    cells = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="mw-card mw-scroll"><table class="mw-grid mw-sizes">{cells}</table></div>'


def messages(report: dict[str, Any]) -> str:
    """What the tools said, and with which versions."""
    words = said(report.get("messages", [])) or "<p>The tools reported nothing.</p>"
    versions = ", ".join(f"{k} {v}" for k, v in (report.get("versions") or {}).items())
    seeds = ", ".join(map(str, report.get("seeds") or []))
    return f'<div class="mw-card">{words}<p><small>{e(versions)}{"; seeds " + e(seeds) if seeds else ""}</small></p></div>'


def pushed(address: str) -> str:
    link = f'<a href="{e(address)}" target="_blank" rel="noopener">{e(address)}</a>'
    return f'<div class="mw-card"><span class="mw-chip ok">pushed</span> {link}</div>'
