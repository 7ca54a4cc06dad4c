"""The inspection report: dataclasses, their dict (the contract of ``/inspect_onnx``) and Markdown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Problem:
    """``severity`` is error (the model is not valid), warning or info; ``fix`` says what to do."""

    severity: str
    where: str
    message: str
    fix: str = ""
    rule: str = ""

    def __post_init__(self) -> None:
        """Names in them are the upload's, of any length."""
        self.where, self.message = cut(self.where, 300), cut(self.message, 1000)


@dataclass(slots=True)
class Report:
    """What ``/inspect_onnx`` answers. Sizes are bytes; a shape is a list of numbers, symbols and None (unknown)."""

    file: dict[str, Any]
    valid: bool
    problems: list[Problem]
    ir_version: int
    opset_imports: dict[str, int]
    onnxruntime: dict[str, Any]
    producer: str
    doc_string: str
    model_version: int
    domain: str
    graph: str
    metadata: dict[str, str]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    symbols: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    initializers: list[dict[str, Any]]
    operators: dict[str, int]
    functions: list[dict[str, Any]]
    subgraphs: list[dict[str, Any]]
    macs: int
    macs_by_operator: dict[str, int]
    not_counted: list[dict[str, Any]]
    memory: dict[str, Any]
    nodes: list[dict[str, Any]] = field(default_factory=list)
    nodes_left_out: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Not ``asdict``: that copies every node's every value, half a minute for 100,000 nodes."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"problems": [asdict(p) for p in self.problems]}


def cut(text: str, most: int) -> str:
    """At most ``most`` characters of it, and how many there were."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def human(value: float | None, unit: str = "", base: int = 1000) -> str:
    """1234567 → "1.23 M"; bytes in powers of 1024 when ``base`` says so."""
    if value is None:
        return "unknown"
    prefixes = ("", "Ki", "Mi", "Gi", "Ti") if base == 1024 else ("", "k", "M", "G", "T")
    step = 0
    while abs(value) >= base and step < 4:
        value, step = value / base, step + 1
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{text} {prefixes[step]}{unit}".strip()


def size(value: float | None) -> str:
    return human(value, "B", 1024)


def shape_text(shape: list[Any] | None) -> str:
    if shape is None:
        return "any shape"
    return " × ".join("?" if d is None else str(d) for d in shape) or "scalar"


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
        f"- **{p['severity']}** {_code(p['where'])}: {_cell(p['message'])} {_cell(p['fix'])}" for p in report["problems"]
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
    return "\n".join(out) + "\n"


def verdict(report: dict[str, Any]) -> str:
    """One sentence: is it valid, and what else was found."""
    counts = {s: sum(p["severity"] == s for p in report["problems"]) for s in ("error", "warning", "info")}
    if report["valid"]:
        words = "A valid ONNX model"
    else:
        words = f"Not a valid model: {counts['error']} error{'s' * (counts['error'] != 1)}"
    rest = [
        f"{n} {s}{'s' * (n != 1)}" if s == "warning" else f"{n} to note" for s, n in counts.items() if n and s != "error"
    ]
    return words + (f", {' and '.join(rest)}." if rest else ".")


def facts(report: dict[str, Any]) -> dict[str, str]:
    """The summary's lines: label and value, in plain text."""
    parameters, memory = report["parameters"], report["memory"]
    bound = ", ".join(f"{k} = {v['value']}" for k, v in report["symbols"].items())
    runtime = report["onnxruntime"]
    dtypes = [f"{human(v['count'])} {k} ({size(v['bytes'])})" for k, v in parameters["by_dtype"].items()]
    counted = _exact(report["macs"]) + (f", with {bound}" if bound else "")
    if report["not_counted"]:
        counted += f"; {sum(g['nodes'] for g in report['not_counted'])} nodes not counted"
    peak = f"{size(memory['peak_bytes'])} at {memory['at']}" + (", at least" if memory["unknown"] else "")
    lines = {
        "File": f"{size(report['file']['bytes'])}",
        "Made by": report["producer"] or "not said",
        "Version": f"IR {report['ir_version']}, "
        + ", ".join(f"{k} opset {v}" for k, v in report["opset_imports"].items())
        + f" (onnxruntime {runtime['version']} reads IR ≤ {runtime['ir']}, opset ≤ {runtime['opset']})",
        "Parameters": _exact(parameters["count"]) + (": " + ", ".join(dtypes) if dtypes else ""),
        "Nodes": f"{sum(report['operators'].values()):,}, with {len(report['operators'])} different operators",
        "MACs": counted,
        "Peak activations": peak,
    }
    if report["doc_string"]:
        lines["Description"] = report["doc_string"][:500]
    if report["metadata"]:
        lines["Metadata"] = ", ".join(f"{k} = {v[:80]}" for k, v in list(report["metadata"].items())[:12])
    return lines


def _exact(value: int) -> str:
    return f"{value:,}" if value < 1000 else f"{human(value)} ({value:,})"


def _code(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in str(text)).replace("`", "'").replace("|", "¦")
    return f"`{clean[:200]}`" if clean.strip() else "–"


def _cell(text: object) -> str:
    clean = "".join(c if c.isprintable() else " " for c in str(text))
    for c in "\\`*_[]<>|#~":
        clean = clean.replace(c, f"\\{c}")
    return clean[:1000]
