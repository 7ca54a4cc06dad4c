"""The report, and a run, as Markdown. Text from the model goes into code spans, without anything Markdown acts on."""

from __future__ import annotations

from typing import Any

from lib.onnx_inspect.report import facts, shape_text, verdict
from lib.reports.markdown import cell, code, run_lines, sentence


def markdown(report: dict[str, Any]) -> str:
    """The report for reading. Text from the model goes into code spans, without anything Markdown acts on."""
    out = [f"# {code(report['file']['name'])}", "", verdict(report), ""]
    out += ["| | |", "|---|---|"]
    out += [f"| {cell(k)} | {cell(v)} |" for k, v in facts(report).items()]
    for title, values in (("Inputs", report["inputs"]), ("Outputs", report["outputs"])):
        out += ["", f"## {title}", "", "| name | dtype | shape |", "|---|---|---|"]
        out += [f"| {code(v['name'])} | {cell(v['dtype'])} | {cell(shape_text(v['shape']))} |" for v in values]
    out += ["", "## Problems", ""]
    out += [
        f"- **{p['severity']}** {code(p['where'])}: {sentence(p['message'])} {cell(p['fix'])}".rstrip()
        for p in report["problems"]
    ]
    out += [] if report["problems"] else ["None."]
    out += ["", "## Operators", "", "| operator | nodes | MACs |", "|---|---|---|"]
    out += [f"| {cell(k)} | {n} | {report['macs_by_operator'].get(k, 0):,} |" for k, n in report["operators"].items()]
    out += [f"\nNot counted: {cell(g['operator'])} × {g['nodes']} ({cell(g['reason'])})." for g in report["not_counted"]]
    out += ["", "## Largest initializers", "", "| name | dtype | shape | bytes |", "|---|---|---|---|"]
    out += [
        f"| {code(i['name'])} | {i['dtype']} | {cell(shape_text(i['shape']))} | {i['bytes']:,} |"
        for i in report["initializers"][:20]
    ]
    out += ["", "## Costliest nodes", "", "| node | operator | MACs | FLOPs/byte |", "|---|---|---|---|"]
    costly = sorted((n for n in report["nodes"] if n["macs"]), key=lambda n: -n["macs"])[:20]
    out += [
        f"| {code(n['scope'] + n['name'])} | {cell(n['operator'])} | {n['macs']:,} | {n['intensity'] or '–'} |"
        for n in costly
    ]
    if report.get("run"):
        out += run_lines(report["run"])
    return "\n".join(out) + "\n"
