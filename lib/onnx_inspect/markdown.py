"""The report, and a run, as Markdown. Text from the model goes into code spans, without anything Markdown acts on."""

from __future__ import annotations

from typing import Any

from lib.onnx_inspect.report import facts, shape_text, verdict


def markdown(report: dict[str, Any]) -> str:
    """The report for reading. Text from the model goes into code spans, without anything Markdown acts on."""
    out = [f"# {_code(report['file']['name'])}", "", verdict(report), ""]
    out += ["| | |", "|---|---|"]
    out += [f"| {_cell(k)} | {_cell(v)} |" for k, v in facts(report).items()]
    for title, values in (("Inputs", report["inputs"]), ("Outputs", report["outputs"])):
        out += ["", f"## {title}", "", "| name | dtype | shape |", "|---|---|---|"]
        out += [f"| {_code(v['name'])} | {_cell(v['dtype'])} | {_cell(shape_text(v['shape']))} |" for v in values]
    out += ["", "## Problems", ""]
    out += [
        f"- **{p['severity']}** {_code(p['where'])}: {_sentence(p['message'])} {_cell(p['fix'])}".rstrip()
        for p in report["problems"]
    ]
    out += [] if report["problems"] else ["None."]
    out += ["", "## Operators", "", "| operator | nodes | MACs |", "|---|---|---|"]
    out += [f"| {_cell(k)} | {n} | {report['macs_by_operator'].get(k, 0):,} |" for k, n in report["operators"].items()]
    out += [f"\nNot counted: {_cell(g['operator'])} × {g['nodes']} ({_cell(g['reason'])})." for g in report["not_counted"]]
    out += ["", "## Largest initializers", "", "| name | dtype | shape | bytes |", "|---|---|---|---|"]
    out += [
        f"| {_code(i['name'])} | {i['dtype']} | {_cell(shape_text(i['shape']))} | {i['bytes']:,} |"
        for i in report["initializers"][:20]
    ]
    out += ["", "## Costliest nodes", "", "| node | operator | MACs | FLOPs/byte |", "|---|---|---|---|"]
    costly = sorted((n for n in report["nodes"] if n["macs"]), key=lambda n: -n["macs"])[:20]
    out += [
        f"| {_code(n['scope'] + n['name'])} | {_cell(n['operator'])} | {n['macs']:,} | {n['intensity'] or '–'} |"
        for n in costly
    ]
    if report.get("run"):
        out += run_lines(report["run"])
    return "\n".join(out) + "\n"


def run_lines(run: dict[str, Any]) -> list[str]:
    """A run as Markdown: agreement, latency with its machine, differences."""
    ours, agree = run["onnxruntime"], {True: "agree", False: "differ", None: "were not compared"}[run["agree"]]
    out = ["", "## Run", "", f"onnxruntime {ours['version']} and the reference evaluator {agree}."]
    for name, one in (("onnxruntime", ours), ("Reference evaluator", run["reference"])):
        if "error" in one:
            out += ["", f"{name}: {_sentence(one['error'])}"]
    if run.get("sizes_note"):
        out += ["", f"Sizes: {_cell(run['sizes_note'])}"]
    for words in (run.get("samples") or {}).get("messages", []):
        out += ["", _sentence(words)]
    if "latency_ms" in ours:
        out += ["", _cell(latency(ours))]
        out += ["", _cell(measured_on(ours))]
    if run["differences"]:
        out += ["", "| output | | max abs | max rel | cosine |", "|---|---|---|---|---|"]
        out += [
            f"| {_code(d['name'])} | {'agrees' if d['agree'] else 'differs'} "
            f"| {figure(d.get('max_abs'))} | {figure(d.get('max_rel'))} | {figure(d.get('cosine'))} |"
            for d in run["differences"]
        ]
    if ours.get("profile"):
        out += ["", "| slowest nodes | operator | ms | share |", "|---|---|---|---|"]
        out += [
            f"| {_code(r['node'])} | {_cell(r['operator'])} | {figure(r['ms'])} | {r['share']:.0%} |"
            for r in ours["profile"][:10]
        ]
    return out


def latency(ours: dict[str, Any]) -> str:
    marks = ours["latency_ms"]
    words = (
        f"Latency over {ours['runs']} runs: median {figure(marks['p50'])} ms, p5 {figure(marks['p5'])}, "
        f"p95 {figure(marks['p95'])}, p99 {figure(marks['p99'])}; first run {figure(ours['first_ms'])} ms, "
        f"loading {figure(ours['load_ms'])} ms."
    )
    return words + (" Noisy: other work on this machine, probably; take the p5." if ours.get("noisy") else "")


def measured_on(ours: dict[str, Any]) -> str:
    """The machine in one sentence."""
    found = ours.get("machine") or {}
    if not found:
        return ""
    threads = f"{found['threads']} thread{'s' * (found['threads'] != 1)}, " if found.get("threads") else ""
    warm = found.get("warm_up_runs", 0)
    return (
        f"Measured on {found['processor']}, {found['cores']} cores, {threads}{found['provider']}, "
        f"after {warm} warm-up run{'s' * (warm != 1)}."
    )


def figure(value: float | None) -> str:
    """Three digits, and never 1.22e+03."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _code(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in str(text)).replace("`", "'").replace("|", "¦")
    return f"`{clean[:200]}`" if clean.strip() else "–"


def _cell(text: object) -> str:
    clean = "".join(c if c.isprintable() else " " for c in str(text))
    for c in "\\`*_[]<>|#~":
        clean = clean.replace(c, f"\\{c}")
    return clean[:1000]


def _sentence(text: object) -> str:
    words = _cell(text).rstrip()
    return words if words.endswith((".", "!", "?", ":", "…")) else f"{words}."
