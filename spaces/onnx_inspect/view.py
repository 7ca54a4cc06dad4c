"""Reports as HTML and as tables. Everything that comes from a model is escaped; nothing is computed here."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd

from lib.onnx_inspect.report import facts, human, shape_text, size, verdict
from web.cards import e

NODE_COLUMNS = ["#", "node", "operator", "output", "MACs", "MACs %", "weights", "output bytes", "FLOPs/byte"]
WEIGHT_COLUMNS = ["name", "dtype", "shape", "elements", "bytes", "read by", "nodes"]
PROFILE_COLUMNS = ["node", "operator", "ms", "share %", "calls", "MACs", "GMAC/s"]
CHANGE_COLUMNS = ["kind", "change", "name", "before", "after"]
MOST_ROWS = 5000  # of a table in the page; the report has all
IDLE = "Drop an <b>.onnx</b> file (with its external data, if it has any), or try an example."


def summary(report: dict[str, Any]) -> str:
    """The verdict, the facts, and what goes in and out."""
    state = (
        "error"
        if not report["valid"]
        else "warning"
        if any(p["severity"] == "warning" for p in report["problems"])
        else "ok"
    )
    word = {"ok": "valid", "warning": "valid", "error": "not valid"}[state]
    rows = "".join(f"<dt>{e(k)}</dt><dd>{e(v)}</dd>" for k, v in facts(report).items())
    return (
        f'<div class="mw-card"><p class="mw-verdict"><span class="mw-chip {state}">{word}</span> '
        f"<b>{e(report['file']['name'])}</b></p><p>{e(verdict(report))}</p><dl class='mw-facts'>{rows}</dl>"
        f'<div class="mw-values">{_values("Inputs", report["inputs"])}{_values("Outputs", report["outputs"])}</div></div>'
    )


def _values(title: str, values: list[dict[str, Any]]) -> str:
    shown = "".join(
        f"<tr><td><code>{e(v['name'])}</code></td><td>{e(v['dtype'])}</td><td>{e(shape_text(v['shape']))}</td></tr>"
        for v in values[:40]
    )
    more = f"<tr><td colspan=3>and {len(values) - 40} more in the report</td></tr>" if len(values) > 40 else ""
    return f"<div><h3>{title}</h3><table>{shown or '<tr><td>none</td></tr>'}{more}</table></div>"


def built(summary: str) -> str:
    """The summary once more: the other one may be far above the text."""
    return f'<div class="mw-card"><span class="mw-chip">built</span> It is the open model now.</div>{summary}'


def problems(report: dict[str, Any]) -> str:
    """One row a problem: how bad, where, what, and what to do."""
    if not report["problems"]:
        return '<div class="mw-card"><span class="mw-chip ok">none</span> The checker and all lints are content.</div>'
    rows = "".join(
        f'<tr><td><span class="mw-chip {e(p["severity"])}">{e(p["severity"])}</span></td>'
        f"<td><code>{e(p['where'][:120])}</code></td>"
        f"<td>{e(p['message'])}<br><small>{e(p['fix'])}</small></td></tr>"
        for p in report["problems"]
    )
    return f'<div class="mw-card mw-scroll"><table class="mw-problems">{rows}</table></div>'


def cost(report: dict[str, Any]) -> str:
    """What the MACs hold and what they leave out."""
    lines = [f"<b>{e(human(report['macs']))} MACs</b> ({report['macs']:,}); FLOPs are twice that."]
    if report["symbols"]:
        lines.append("Counted with " + e(", ".join(f"{k} = {v['value']}" for k, v in report["symbols"].items())) + ".")
    for group in report["not_counted"]:
        lines.append(f"Not counted: {group['nodes']} × <code>{e(group['operator'])}</code>, {e(group['reason'])}.")
    memory = report["memory"]
    least = f" At least: {memory['unknown']} values have no known size." if memory["unknown"] else ""
    lines.append(
        f"Peak of inputs and activations alive at once: <b>{e(size(memory['peak_bytes']))}</b>, "
        f"at <code>{e(memory['at'])}</code>.{least}"
    )
    lines.append("<small>Element-wise work, normalisation and pooling have no MACs by convention.</small>")
    return f'<div class="mw-card">{"<br>".join(lines)}</div>'


def node_table(report: dict[str, Any]) -> pd.DataFrame:
    """Costliest first."""
    total = report["macs"] or 1
    found = sorted(report["nodes"], key=lambda n: -(n["macs"] or 0))[:MOST_ROWS]
    rows = [
        [
            n["index"],
            n["scope"] + n["name"],
            n["operator"],
            "; ".join(shape_text(s) for s in n["output_shapes"]),
            n["macs"],
            None if n["macs"] is None else round(100 * n["macs"] / total, 2),
            n["parameters"],
            n["output_bytes"],
            n["intensity"],
        ]
        for n in found
    ]
    return pd.DataFrame(rows, columns=NODE_COLUMNS)


def operator_plot(report: dict[str, Any]) -> pd.DataFrame:
    """MACs by operator, the ten largest."""
    rows = list(report["macs_by_operator"].items())[:10]
    return pd.DataFrame(rows, columns=["operator", "MACs"])


def memory_plot(report: dict[str, Any]) -> pd.DataFrame:
    """MiB alive at each node, at most about 500 points, each the highest of its stretch."""
    over = report["memory"]["over_nodes"]
    step = max(1, len(over) // 500)
    rows = [(k, max(over[k : k + step]) / 2**20) for k in range(0, len(over), step)]
    return pd.DataFrame(rows, columns=["node", "MiB alive"])


def weight_table(report: dict[str, Any]) -> pd.DataFrame:
    rows = [
        [i["name"], i["dtype"], shape_text(i["shape"]), i["count"], i["bytes"], i["uses"], ", ".join(i["used_by"])]
        for i in report["initializers"][:MOST_ROWS]
    ]
    return pd.DataFrame(rows, columns=WEIGHT_COLUMNS)


def tensor(found: dict[str, Any]) -> str:
    parts = [
        f"<b><code>{e(found['name'])}</code></b> {e(found['dtype'])} {e(shape_text(found['shape']))}, {size(found['bytes'])}"
    ]
    if "minimum" in found:
        parts.append(f"{found['minimum']:.5g} to {found['maximum']:.5g}, mean {found['mean']:.5g}, std {found['std']:.5g}")
    if "zeros" in found:
        parts.append(
            f"{found['sparsity']:.1%} zeros ({found['zeros']:,}), {found['nan']:,} NaN, {found['infinite']:,} infinite"
        )
    parts.append("first values: " + e(", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in found["values"])))
    return f'<div class="mw-card">{"<br>".join(parts)}</div>'


def histogram(found: dict[str, Any]) -> pd.DataFrame | None:
    if "histogram" not in found:
        return None
    edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    return pd.DataFrame({"value": middles, "count": counts})


def result(found: dict[str, Any]) -> str:
    """Do the two runtimes agree, how fast is one, and what came out."""
    ours, other = found["onnxruntime"], found["reference"]
    state = {True: ("ok", "agree"), False: ("error", "differ"), None: ("warning", "not compared")}[found["agree"]]
    lines = [
        f'<p class="mw-verdict"><span class="mw-chip {state[0]}">{state[1]}</span> '
        "onnxruntime and the reference evaluator</p>"
    ]
    for name, one in (("onnxruntime", ours), ("Reference", other)):
        if "error" in one:
            lines.append(f"<p>{name} {e(one['version'])}: {e(one['error'])}</p>")
    if "latency_ms" in ours:
        marks = ours["latency_ms"]
        lines.append(
            f"<p>Latency over {ours['runs']} runs: median <b>{marks['p50']:.3g} ms</b>, p5 {marks['p5']:.3g}, "
            f"p95 {marks['p95']:.3g}, p99 {marks['p99']:.3g}; first run {ours['first_ms']:.3g}, "
            f"loading {ours['load_ms']:.3g} ms</p>"
        )
    gaps = "".join(
        f"<tr><td><code>{e(d['name'])}</code></td><td>{'agrees' if d['agree'] else 'differs'}</td>"
        f"<td>{_number(d.get('max_abs'))}</td>"
        f"<td>{_number(d.get('max_rel'))}</td><td>{_number(d.get('cosine'))}</td>"
        f"<td>{_tolerance(d)}</td><td>{e(d.get('why', ''))}</td></tr>"
        for d in found["differences"]
    )
    if gaps:
        head = "<tr><th>output</th><th></th><th>max abs</th><th>max rel</th><th>cosine</th><th>tolerance</th><th></th></tr>"
        lines.append(f'<div class="mw-scroll"><table class="mw-plain">{head}{gaps}</table></div>')
    for kind in ("inputs", "outputs"):
        for value in found[kind]:
            values = f": {e(_short(value['values']))}" if value.get("values") is not None else ""
            shape = shape_text(value["shape"]) if value["shape"] is not None else ""
            lines.append(
                f"<p class='mw-array'>{kind[:-1]} <code>{e(value['name'])}</code> {e(value['dtype'])} {e(shape)}{values}</p>"
            )
    if ours.get("profile"):
        lines.append(
            "<p><small>The profile below has the nodes of onnxruntime's optimised graph; profiled runs are slower than "
            "timed ones.</small></p>"
        )
    return f'<div class="mw-card">{"".join(lines)}</div>'


def _short(values: Any) -> str:
    """Six digits of each number; the first of many."""
    if isinstance(values, list):
        return f"[{', '.join(map(_short, values[:64]))}{', …' if len(values) > 64 else ''}]"
    return f"{values:.6g}" if isinstance(values, float) else str(values)


def _tolerance(d: dict[str, Any]) -> str:
    return f"{d['rtol']:.3g} × value + {d['atol']:.3g}" if d.get("rtol") else "equal" if "rtol" in d else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def profile_table(found: dict[str, Any]) -> pd.DataFrame:
    rows = [
        [
            r["node"],
            r["operator"],
            round(r["ms"], 4),
            round(100 * r["share"], 2),
            r["calls"],
            r["macs"],
            None if r["gmacs_per_second"] is None else round(r["gmacs_per_second"], 3),
        ]
        for r in found["onnxruntime"].get("profile", [])
    ]
    return pd.DataFrame(rows[:MOST_ROWS], columns=PROFILE_COLUMNS)


def profile_plot(found: dict[str, Any]) -> pd.DataFrame:
    """The eight slowest."""
    rows = found["onnxruntime"].get("profile", [])
    shown = [(f"{k + 1}: …{r['node'][-14:]}", round(r["ms"], 4), r["operator"]) for k, r in enumerate(rows[:8])]
    return pd.DataFrame(shown, columns=["node", "ms", "operator"])


def changes(found: dict[str, Any]) -> str:
    if found["same"]:
        return '<div class="mw-card"><span class="mw-chip ok">same</span> Nothing differs.</div>'
    parts = [f"{n} {kind}{'s' * (n > 1)} {change}" for kind, one in found["counts"].items() for change, n in one.items()]
    return f'<div class="mw-card"><span class="mw-chip warning">different</span> {e(", ".join(parts))}.</div>'


def change_table(found: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([[r[c] for c in CHANGE_COLUMNS] for r in found["rows"]], columns=CHANGE_COLUMNS)


CSS = """
.mw-problems small { color: var(--body-text-color-subdued); }
.mw-problems td { border-top: 1px solid var(--border-color-primary) !important; }
.mw-problems td { overflow-wrap: normal; }
.mw-problems td:nth-child(2) { min-width: 6em; max-width: 280px; overflow-wrap: anywhere; }
.mw-problems td:nth-child(1), .mw-problems code { white-space: nowrap; } .mw-problems code { white-space: normal; }
.mw-problems tr:first-child td { border-top: 0 !important; }
.mw-array { font-size: 0.88rem; max-height: 12em; overflow: auto; }
"""
