"""The inspection report: dataclasses, their dict (the contract of ``/inspect_onnx``), and its words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lib.reports.words import Problem, cut, exact, human, plural, shape_text, size

__all__ = ["Problem", "Report", "cut", "facts", "human", "incomplete", "shape_text", "size", "verdict"]


@dataclass(slots=True)
class Report:
    """What ``/inspect_onnx`` answers. A shape is a list of numbers, symbols and None (unknown); bytes are bytes.

    ``missing``: files of external data that were not given, and how many tensors are in each. ``sizes``: of dynamic
    dimensions, with which MACs and memory were counted; ``sizes_note`` says whose they are.
    """

    file: dict[str, Any]
    missing: dict[str, int]
    valid: bool
    problems: list[Problem]
    ir_version: int
    opset_imports: dict[str, int]
    onnxruntime: dict[str, Any]
    producer: str
    doc_string: str
    model_version: int
    domain: str
    training: int
    graph: str
    graph_doc_string: str
    metadata: dict[str, str]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    symbols: dict[str, dict[str, Any]]
    sizes: dict[str, int]
    sizes_note: str
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
        every = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"format": "onnx"} | every | {"problems": [asdict(p) for p in self.problems]}


def verdict(report: dict[str, Any]) -> str:
    """One sentence: is it valid, and what else was found."""
    counts = {s: sum(p["severity"] == s for p in report["problems"]) for s in ("error", "warning", "info")}
    missing = report.get("missing") or {}
    if report["valid"]:
        words = "Valid"
    elif incomplete(report):
        files = ", ".join(list(missing)[:5]) + ", …" * (len(missing) > 5)
        n = sum(missing.values())
        words = f"Incomplete: also add {files}, which {'holds' if len(missing) == 1 else 'hold'} {plural(n, 'tensor')}"
    else:
        words = f"Not a valid model: {plural(counts['error'], 'error')}"
    rest = [plural(counts[s], word) for s, word in (("warning", "warning"), ("info", "note")) if counts[s]]
    return words + (f", {' and '.join(rest)}." if rest and not incomplete(report) else ".")


def incomplete(report: dict[str, Any]) -> bool:
    """Whether nothing but files of external data stands between the model and validity."""
    errors = [p for p in report["problems"] if p["severity"] == "error"]
    return bool(report.get("missing")) and all(p.get("rule") == "external data" for p in errors)


def facts(report: dict[str, Any]) -> dict[str, str]:
    """The summary's lines: label and value, in plain text."""
    parameters, memory = report["parameters"], report["memory"]
    bound = ", ".join(f"{k} = {v['value']}" for k, v in report["symbols"].items())
    runtime = report["onnxruntime"]
    dtypes = [f"{human(v['count'])} {k} ({size(v['bytes'])})" for k, v in parameters["by_dtype"].items()]
    counted = exact(report["macs"]) + (f", with {bound}" if bound else "")
    if report["not_counted"]:
        counted += f"; {plural(sum(g['nodes'] for g in report['not_counted']), 'node')} not counted"
    peak = f"{size(memory['peak_bytes'])} at {memory['at']}" + (", at least" if memory["unknown"] else "")
    lines = {
        "File": size(report["file"]["bytes"]) + _beside(report["file"]),
        "Producer": report["producer"] or "not recorded",
        "Version": f"IR {report['ir_version']}, "
        + ", ".join(f"{k} opset {v}" for k, v in report["opset_imports"].items())
        + f" (onnxruntime {runtime['version']} reads IR ≤ {runtime['ir']}, opset ≤ {runtime['opset']})",
        "Parameters": exact(parameters["count"]) + (": " + ", ".join(dtypes) if dtypes else ""),
        "Nodes": f"{sum(report['operators'].values()):,}, of {plural(len(report['operators']), 'kind')}",
        "MACs": counted,
        "Peak activations": peak,
    }
    if report["doc_string"]:
        lines["Description"] = report["doc_string"][:500]
    if report["model_version"]:
        lines["Model version"] = str(report["model_version"])
    if report["domain"]:
        lines["Domain"] = report["domain"][:200]
    if report["training"]:
        lines["Training"] = f"{plural(report['training'], 'graph')} of training information; runtimes ignore it"
    if report["metadata"]:
        lines["Metadata"] = ", ".join(f"{k} = {v[:80]}" for k, v in list(report["metadata"].items())[:12])
    return lines


def _beside(file: dict[str, Any]) -> str:
    """What was uploaded with the model and is no weights."""
    kinds = [kind for kind in (file.get("beside") or {}).values() if kind != "unknown"]
    names = {"tokenizer": "tokenizer files", "settings": "settings", "text": "text files"}
    found = [names[kind] for kind in names if kind in kinds]
    return f"; beside it {' and '.join(found)}, which are no weights" if found else ""
