"""What the converter says as HTML and tables. Everything from a model is escaped; a missing figure shows as a dash."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lib.convert.formats import APP, FORMATS
from web.cards import e

from . import picture
from .figures import bytes_text, number, percent, seconds_text

CONVERSION_COLUMNS = ("conversion", "runs here", "tool", "precision", "time", "usual error")
IDLE = "Drop a model, or choose an architecture by name: then you see what it is and what it can become."
VERDICTS = {  # the class of its colour, a sign beside the word, what it means
    "proven": ("ok", "✓", "The converted model computes the same as the source."),
    "failed": ("error", "✗", "The converted model does not compute the same."),
    "unproven": ("warning", "?", "Nothing wrong was found, but it is not shown to be right either."),
}
MOST_OUTPUTS = 60  # in the table; the report has all


def about(found: dict[str, Any], name: str) -> str:
    """What the source is: format, size, what goes in and out, and what was said on opening it."""
    size = f", {bytes_text(found['bytes'])}" if found.get("bytes") else ""
    values = _values("Inputs", found.get("inputs", [])) + _values("Outputs", found.get("outputs", []))
    return (
        f'<div class="mw-card"><p class="mw-verdict"><span class="mw-chip">{e(found["title"])}</span> <b>{e(name)}</b>'
        f'{size}</p><div class="mw-values mw-scroll">{values}</div>{_messages(found.get("messages", []))}</div>'
    )


def _values(title: str, values: list[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><code>{e(v['name'])}</code></td><td>{e(v['dtype'])}</td><td>{e(shape(v['shape']))}</td></tr>"
        for v in values[:40]
    )
    more = f"<tr><td colspan=3>and {len(values) - 40} more</td></tr>" if len(values) > 40 else ""
    return f"<div><h3>{title}</h3><table>{rows or '<tr><td>none</td></tr>'}{more}</table></div>"


def shape(dims: Iterable[int | str]) -> str:
    return " × ".join(map(str, dims)) or "scalar"


def _messages(messages: list[str]) -> str:
    return f'<ul class="mw-said">{"".join(f"<li>{e(m)}</li>" for m in messages)}</ul>' if messages else ""


def choice(target: dict[str, Any]) -> str:
    """A target as it stands in the list: its title, what lies between, and a rough time."""
    between = titles(target)[1:-1]
    way = f"via {' → '.join(between)}" if between else "directly"
    return f"{target['title']} · {way} · about {seconds_text(target.get('seconds'))}"


def titles(target: dict[str, Any]) -> list[str]:
    return list(target.get("titles") or target["route"])


def route(target: dict[str, Any]) -> str:
    """The chosen way: formats with the tool of every hop, and what the tools do to the model."""
    names, tools = titles(target), target.get("tools", [])
    parts = [f'<span class="mw-stop">{e(names[0])}</span>'] if names else []
    for k, name in enumerate(names[1:]):
        tool = e(tools[k]) if k < len(tools) else ""
        parts.append(f'<span class="mw-hop">→ <small>{tool}</small></span><span class="mw-stop">{e(name)}</span>')
    error = target.get("error")
    usual = f" Usual error: {number(error)} of the output's range." if error else ""
    rough = f"About {seconds_text(target.get('seconds'))} for a small model.{usual}"
    notes = _messages(target.get("notes", []))
    return f'<div class="mw-card"><div class="mw-route">{"".join(parts)}</div><p>{e(rough)}</p>{notes}</div>'


def blocked(reasons: dict[str, str]) -> str:
    """Targets that something missing keeps away, in a fold."""
    if not reasons:
        return ""
    rows = "".join(f"<li><b>{e(_title(name))}</b>: {e(why)}</li>" for name, why in reasons.items())
    summary = f"<summary>Not possible here ({len(reasons)})</summary>"
    return f'<details class="mw-card">{summary}<ul class="mw-said">{rows}</ul></details>'


def verdict(report: dict[str, Any], withheld: bool) -> str:
    """The word, what it means, and why."""
    word = str(report.get("verdict", "unproven"))
    colour, sign, meaning = VERDICTS.get(word, VERDICTS["unproven"])
    if withheld:
        meaning += (
            " The file is withheld. To have it all the same, tick “Give me the file anyway” under The proof, and convert."
        )
    elif word != "proven":
        meaning += " You asked for the file anyway: its name says .unproven."
    made = (report.get("source") or {}).get("inputs")
    checked = f" Checked with {len(report['seeds'])} seeds." if report.get("seeds") and made else ""
    return (
        f'<div class="mw-card mw-proof {colour}" data-say="Verdict: {e(word)}">'
        f'<p class="mw-word"><span aria-hidden="true">{sign}</span> {e(word)}</p>{_what(report)}<p>{e(meaning)}</p>'
        f"<p><b>{e(report.get('reason', ''))}</b>{e(checked)}</p>{_diverges(report)}</div>"
    )


def _what(report: dict[str, Any]) -> str:
    """Whose verdict it is: another target may be chosen by now."""
    source, target = report.get("source") or {}, report.get("target") or {}
    if not source.get("title") or not target.get("title"):
        return ""
    name = str(source.get("name") or "")
    shown = name if len(name) <= 80 else f"{name[:79]}…"
    return f"<p><code>{e(shown)}</code> {e(source['title'])} → {e(target['title'])}</p>"


def _diverges(report: dict[str, Any]) -> str:
    found = report.get("diverges")
    if not found:
        return ""
    if not isinstance(found, dict):
        return f"<p>First node that differs: <code>{e(found)}</code></p>"
    name = found.get("node") or found.get("name") or ""
    rest = "; ".join(f"{k.replace('_', ' ')} {_any(v)}" for k, v in found.items() if k not in ("node", "name"))
    return f"<p>First node that differs: <code>{e(name)}</code> {e(rest)}</p>"


def _any(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def steps(report: dict[str, Any]) -> str:
    """One row a hop."""
    rows = "".join(
        f"<tr><td>{e(_title(hop['source']))} → {e(_title(hop['target']))}</td><td>{e(hop.get('tool', ''))}</td>"
        f"<td>{e(hop.get('precision', ''))}</td><td>{seconds_text(hop.get('seconds'))}</td>"
        f"<td>{_chip(hop.get('verdict'))}</td><td>{number(hop.get('max_abs_error'))}</td>"
        f"<td>{e(hop.get('reason') or '')}</td></tr>"
        for hop in report.get("route", [])
    )
    head = "".join(
        f"<th>{t}</th>" if t else "<td></td>" for t in ("step", "tool", "precision", "time", "", "max abs error", "")
    )
    return f'<div class="mw-card mw-scroll"><table class="mw-grid"><tr>{head}</tr>{rows}</table></div>'


def _title(name: str) -> str:
    return FORMATS[name].title if name in FORMATS else name


def outputs(report: dict[str, Any]) -> str:
    """A picture of the errors on a logarithmic axis, then every figure."""
    found = report.get("outputs", [])
    rows = "".join(
        f"<tr><td><code>{e(o['name'])}</code></td><td>{_chip(o.get('verdict'))}</td><td>{number(o.get('max_abs_error'))}</td>"
        f"<td>{number(o.get('range_error'))}</td><td>{number(o.get('max_rel_error'))}</td>"
        f"<td>{number(o.get('cosine'), 9)}</td><td>{number(o.get('sqnr_db'))}</td>"
        f"<td>{percent(o.get('top1_agreement'))}</td><td>{number(o.get('slice_error'), 2)}</td>"
        f"<td>{percent(o.get('moves'))}</td>"
        f"<td>{e(o.get('reason') or '')}</td></tr>"
        for o in found[:MOST_OUTPUTS]
    )
    names = ("output", "", "max abs", "of range", "max rel", "cosine", "SQNR, dB", "top-1", "worst slice", "moves", "")
    head = "".join(f"<th>{t}</th>" if t else "<td></td>" for t in names)
    more = f"<p>and {len(found) - MOST_OUTPUTS} more in the report</p>" if len(found) > MOST_OUTPUTS else ""
    notes = (
        f"<p><small>{e(_allowed(report.get('tolerance') or {}))} <i>Moves</i>: how far the output goes from one input to "
        "another, as a share of its largest value; an output that hardly moves proves nothing.</small></p>"
    )
    return (
        f'<div class="mw-card">{picture.errors(found)}<div class="mw-scroll"><table class="mw-grid"><tr>{head}</tr>{rows}'
        f"</table></div>{more}{notes}{_three_way(report.get('three_way'))}</div>"
    )


def _allowed(tolerance: dict[str, Any]) -> str:
    """The tolerance in words; "" for one that is not known."""
    at_most, at_least = [], []
    if tolerance.get("rtol") is not None and tolerance.get("atol") is not None:
        exact = tolerance["rtol"] == tolerance["atol"] == 0
        each = "nothing" if exact else f"{number(tolerance['rtol'])} × value + {number(tolerance['atol'])} × largest value"
        at_most.append(f"an error of {each}")
    if tolerance.get("slice"):
        at_most.append(f"{number(tolerance['slice'])} × a slice's own movement")
    for key, words in (("sqnr_db", "SQNR {} dB"), ("cosine", "cosine {}"), ("top1", "top-1 {}"), ("moves", "moves {}")):
        if tolerance.get(key):
            at_least.append(words.format(number(tolerance[key])))
    parts = [f"allowed: {', '.join(at_most)}"] * bool(at_most) + [f"asked for: {', '.join(at_least)}"] * bool(at_least)
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
        return f"<p>Three ways: the reference evaluator did not run it: {e(why)}</p>" if why else ""
    return f"<p>Three ways, on one set of ordinary inputs: {e('; '.join(parts))}.</p>"


def sizes(report: dict[str, Any]) -> str:
    """Size and latency before and after."""
    source, target = report.get("source", {}), report.get("target", {})
    rows = [("", e(source.get("title", "source")), e(target.get("title", "target")), "")]
    ratio = report.get("size_ratio")
    times = f"× {ratio:.2f}" if ratio else ""
    rows.append(("size", bytes_text(source.get("bytes")), bytes_text(target.get("bytes")), times))
    where = "" if report.get("same_process") is None else " in one process" if report["same_process"] else ", a process each"
    ratio = report.get("latency_ratio")
    faster = "" if not ratio else f"× {ratio:.2f} the time"
    rows.append((f"median latency{where}", _ms(source.get("median_ms")), _ms(target.get("median_ms")), faster))
    cells = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="mw-card mw-scroll"><table class="mw-grid mw-sizes">{cells}</table></div>'


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g} ms"


def messages(report: dict[str, Any]) -> str:
    """What the tools said, and with which versions."""
    said = _messages(report.get("messages", [])) or "<p>The tools had nothing to say.</p>"
    versions = ", ".join(f"{k} {v}" for k, v in (report.get("versions") or {}).items())
    seeds = ", ".join(map(str, report.get("seeds") or []))
    return f'<div class="mw-card">{said}<p><small>{e(versions)}{"; seeds " + e(seeds) if seeds else ""}</small></p></div>'


def pushed(address: str) -> str:
    link = f'<a href="{e(address)}" target="_blank" rel="noopener">{e(address)}</a>'
    return f'<div class="mw-card"><span class="mw-chip ok">pushed</span> {link}</div>'


def conversion_table(rows: list[dict[str, Any]]) -> str:
    """Everything this installation knows, also what cannot run here."""
    cells = "".join(
        f"<tr><td><b>{e(r['source_title'])} → {e(r['target_title'])}</b><br>"
        f"<small>{e(_to_know(r))}</small></td><td>{_here(r)}</td><td>{e(r['tool'])}</td>"
        f"<td>{e(r['precision'])}</td><td>{seconds_text(r.get('seconds'))}</td><td>{number(r.get('error'))}</td></tr>"
        for r in rows
    )
    head = "".join(f"<th>{t}</th>" if t else "<td></td>" for t in CONVERSION_COLUMNS)
    return f'<div class="mw-card mw-scroll"><table class="mw-grid mw-rows"><tr>{head}</tr>{cells}</table></div>'


def _to_know(row: dict[str, Any]) -> str:
    if not row["runs_here"]:
        return str(row["why_not"])
    if row.get("environment", APP) == APP:
        return str(row["note"])
    return f"{row['note']} Its packages ({row['environment']}) are installed apart, on first use.".strip()


def _here(row: dict[str, Any]) -> str:
    return '<span class="mw-chip ok">yes</span>' if row["runs_here"] else '<span class="mw-chip warning">no</span>'


def _chip(word: str | None) -> str:
    colour = VERDICTS.get(word or "", ("",))[0]
    return f'<span class="mw-chip {colour}">{e(word)}</span>' if word else ""


CSS = (
    picture.CSS
    + """
.mw-proof { border-left-width: 8px; } .mw-proof.ok { border-left-color: #15803d; }
.mw-proof.warning { border-left-color: #b45309; } .mw-proof.error { border-left-color: #b91c1c; }
.mw-word { font-size: 1.9rem; font-weight: 800; line-height: 1.2; letter-spacing: -0.01em; }
.mw-proof.ok .mw-word { color: #15803d; } .mw-proof.warning .mw-word { color: #b45309; }
.mw-proof.error .mw-word { color: #b91c1c; }
.dark .mw-proof.ok .mw-word { color: #4ade80; } .dark .mw-proof.warning .mw-word { color: #fbbf24; }
.dark .mw-proof.error .mw-word { color: #f87171; }
.mw-route { display: flex; flex-wrap: wrap; gap: 6px 8px; align-items: center; margin-bottom: 6px; }
.mw-stop { padding: 2px 10px; border-radius: 8px; background: var(--background-fill-secondary); font-weight: 600; }
.mw-hop { color: var(--body-text-color-subdued); }
.mw-said { margin: 6px 0 0 18px; padding: 0; list-style: disc; } .mw-said li { margin: 2px 0; }
.mw-card .mw-grid th { color: var(--body-text-color-subdued); font-weight: 500; }
.mw-card .mw-grid td, .mw-card .mw-grid th { overflow-wrap: normal; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.mw-card .mw-grid td:last-child { white-space: normal; min-width: 160px; }
.mw-card .mw-rows td { border-top: 1px solid var(--border-color-primary); }
.mw-card .mw-rows td:first-child { white-space: normal; min-width: 260px; }
.mw-card .mw-rows td:nth-child(3) { white-space: normal; } .mw-card .mw-rows td:last-child { min-width: 0; }
.mw-sizes tr:first-child td { color: var(--body-text-color-subdued); }
#convert-targets .wrap { flex-direction: column; align-items: stretch; gap: 6px; }
#convert-targets label { padding-top: 5px; padding-bottom: 5px; }
#convert-targets label { white-space: normal; }
@media (max-width: 768px) { #convert-table { width: calc(100vw - 90px) !important; } }
"""
)
