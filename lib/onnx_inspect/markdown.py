"""Render the report, including a run, as Markdown."""

from __future__ import annotations

from typing import Any

from lib.onnx_inspect.report import facts, shape_text, verdict
from lib.reports.markdown import cell, code, run_lines, sentence


def markdown(report: dict[str, Any]) -> str:
    """Render the report as Markdown. Text from the model goes into code spans or cells that neutralise Markdown syntax."""
    lines = [f"# {code(report['file']['name'])}", "", verdict(report), ""]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {cell(k)} | {cell(v)} |" for k, v in facts(report).items()]
    for title, values in (("Inputs", report["inputs"]), ("Outputs", report["outputs"])):
        lines += ["", f"## {title}", "", "| name | dtype | shape |", "|---|---|---|"]
        lines += [f"| {code(v['name'])} | {cell(v['dtype'])} | {cell(shape_text(v['shape']))} |" for v in values]
    lines += ["", "## Problems", ""]
    lines += [
        f"- **{p['severity']}** {code(p['where'])}: {sentence(p['message'])} {cell(p['fix'])}".rstrip()
        for p in report["problems"]
    ]
    lines += [] if report["problems"] else ["None."]
    lines += ["", "## Operators", "", "| operator | nodes | MACs |", "|---|---|---|"]
    lines += [f"| {cell(k)} | {n} | {report['macs_by_operator'].get(k, 0):,} |" for k, n in report["operators"].items()]
    lines += [f"\nNot counted: {cell(g['operator'])} × {g['nodes']} ({cell(g['reason'])})." for g in report["not_counted"]]
    lines += ["", "## Largest initializers", "", "| name | dtype | shape | bytes |", "|---|---|---|---|"]
    lines += [
        f"| {code(i['name'])} | {i['dtype']} | {cell(shape_text(i['shape']))} | {i['bytes']:,} |"
        for i in report["initializers"][:20]
    ]
    lines += ["", "## Costliest nodes", "", "| node | operator | MACs | FLOPs/byte |", "|---|---|---|---|"]
    costly = sorted((n for n in report["nodes"] if n["macs"]), key=lambda n: -n["macs"])[:20]
    lines += [
        f"| {code(n['scope'] + n['name'])} | {cell(n['operator'])} | {n['macs']:,} | {n['intensity'] or '–'} |"
        for n in costly
    ]
    if report.get("run"):
        lines += run_lines(report["run"])
    return "\n".join(lines) + "\n"
