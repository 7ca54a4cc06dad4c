"""The report as Markdown, for reading and for an issue."""

from __future__ import annotations

from typing import Any

from lib.reports.markdown import cell, code, run_lines, sentence
from lib.reports.words import shape_text
from lib.tflite_inspect.report import facts, quantised, verdict

MAX_ROWS = 20  # rows of a table
MAX_TENSORS = 100


def markdown(report: dict[str, Any]) -> str:
    out = [f"# {code(report['file']['name'])}", "", verdict(report), "", "| | |", "|---|---|"]
    out += [f"| {cell(k)} | {cell(v)} |" for k, v in facts(report).items()]
    for title, values in (("Inputs", report["inputs"]), ("Outputs", report["outputs"])):
        out += ["", f"## {title}", "", "| name | dtype | shape | quantisation |", "|---|---|---|---|"]
        out += [
            f"| {code(v['name'])} | {cell(v['dtype'])} | {cell(shape_text(v['shape']))} "
            f"| {cell(quantised(v['quantization']))} |"
            for v in values
        ]
    out += ["", "## Problems", ""]
    out += [
        f"- **{p['severity']}** {code(p['where'])}: {sentence(p['message'])} {cell(p['fix'])}".rstrip()
        for p in report["problems"]
    ]
    out += [] if report["problems"] else ["None."]
    out += ["", "## Operators", "", "| operator | nodes | MACs |", "|---|---|---|"]
    unknown = {g["operator"] for g in report["not_counted"]}
    out += [
        f"| {cell(k)} | {n} | {_macs(k, report['macs_by_operator'].get(k, 0), unknown)} |"
        for k, n in report["operators"].items()
    ]
    out += [f"\nNot counted: {cell(g['operator'])} × {g['nodes']} ({cell(g['reason'])})." for g in report["not_counted"]]
    if report["sizes_note"]:
        out += ["", f"Sizes: {cell(report['sizes_note'])}"]
    out += [
        "",
        "## Tensors",
        "",
        "| # | name | kind | dtype | shape | bytes | quantisation |",
        "|---|---|---|---|---|---|---|",
    ]
    out += [
        f"| {t['index']} | {code(t['name'])} | {t['kind']} | {cell(t['dtype'])} | {cell(shape_text(t['shape']))} "
        f"| {'unknown' if t['bytes'] is None else format(t['bytes'], ',')} | {cell(quantised(t['quantization']))} |"
        for t in report["tensors"][:MAX_TENSORS]
    ]
    if (more := len(report["tensors"]) + report["tensors_left_out"] - MAX_TENSORS) > 0:
        out += ["", f"And {more:,} more in the JSON report."]
    out += _metadata(report["metadata"])
    if report.get("run"):
        out += run_lines(report["run"])
    return "\n".join(out) + "\n"


def _macs(operator: str, found: int, unknown: set[str]) -> str:
    if operator in unknown:
        return f"{found:,}, and some not counted" if found else "not counted"
    return f"{found:,}"


def _metadata(found: dict[str, Any] | None) -> list[str]:
    if found is None or not found["present"]:
        return []
    out = ["", "## Metadata: inputs and outputs", "", "| | name | content | range | description |", "|---|---|---|---|---|"]
    for side in ("inputs", "outputs"):
        for note in found[side]:
            span = " to ".join(f"{v:g}" for v in note["range"]) if note["range"] else "unknown"
            words = cell(note["content"] or "unknown"), span, cell(note["description"])
            out.append(f"| {side[:-1]} | {code(note['name'])} | {' | '.join(words)} |")
    if found["labels"]:
        shown = ", ".join(code(label) for label in found["labels"][:MAX_TENSORS])
        out += ["", f"Labels: {shown}" + (", …" if len(found["labels"]) > MAX_TENSORS else "")]
    return out
