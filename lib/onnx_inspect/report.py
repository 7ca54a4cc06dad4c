"""The inspection report: its dataclass, its dict (the response of ``/inspect_onnx``), and its texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lib.reports.words import Problem, cut, exact, human, plural, shape_text, size

__all__ = ["Problem", "Report", "cut", "facts", "human", "incomplete", "shape_text", "size", "verdict"]


@dataclass(slots=True)
class Report:
    """The response of ``/inspect_onnx``. A shape is a list of numbers, symbols and None (unknown); sizes are in bytes.

    ``missing``: number of tensors in each missing file of external data. ``sizes``: of the dynamic dimensions at which
    MACs and memory were counted; ``sizes_note`` says how they were chosen.
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
        """Return a dict. ``asdict`` would copy all values, which takes half a minute for 100,000 nodes."""
        every = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"format": "onnx"} | every | {"problems": [asdict(p) for p in self.problems]}


def verdict(report: dict[str, Any]) -> str:
    """Return one sentence: whether the model is valid, and the number of problems."""
    counts = {s: sum(p["severity"] == s for p in report["problems"]) for s in ("error", "warning", "info")}
    missing = report.get("missing") or {}
    if report["valid"]:
        sentence = "Valid"
    elif incomplete(report):
        files = ", ".join(list(missing)[:5]) + ", …" * (len(missing) > 5)
        n = sum(missing.values())
        sentence = f"Incomplete: also add {files}, which {'holds' if len(missing) == 1 else 'hold'} {plural(n, 'tensor')}"
    else:
        sentence = f"Not a valid model: {plural(counts['error'], 'error')}"
    other_counts = [plural(counts[s], word) for s, word in (("warning", "warning"), ("info", "note")) if counts[s]]
    return sentence + (f", {' and '.join(other_counts)}." if other_counts and not incomplete(report) else ".")


def incomplete(report: dict[str, Any]) -> bool:
    """Return whether missing external data is the model's only error."""
    errors = [p for p in report["problems"] if p["severity"] == "error"]
    return bool(report.get("missing")) and all(p.get("rule") == "external data" for p in errors)


def facts(report: dict[str, Any]) -> dict[str, str]:
    """Return the lines of the summary as labels and values, in plain text."""
    parameters, memory = report["parameters"], report["memory"]
    chosen_sizes = ", ".join(f"{k} = {v['value']}" for k, v in report["symbols"].items())
    runtime = report["onnxruntime"]
    dtypes = [f"{human(v['count'])} {k} ({size(v['bytes'])})" for k, v in parameters["by_dtype"].items()]
    macs_text = exact(report["macs"]) + (f", with {chosen_sizes}" if chosen_sizes else "")
    if report["not_counted"]:
        macs_text += f"; {plural(sum(g['nodes'] for g in report['not_counted']), 'node')} not counted"
    peak = f"{size(memory['peak_bytes'])} at {memory['at']}" + (", at least" if memory["unknown"] else "")
    lines = {
        "File": size(report["file"]["bytes"]) + _beside(report["file"]),
        "Producer": report["producer"] or "not recorded",
        "Version": f"IR {report['ir_version']}, "
        + ", ".join(f"{k} opset {v}" for k, v in report["opset_imports"].items())
        + f" (onnxruntime {runtime['version']} reads IR ≤ {runtime['ir']}, opset ≤ {runtime['opset']})",
        "Parameters": exact(parameters["count"]) + (": " + ", ".join(dtypes) if dtypes else ""),
        "Nodes": f"{sum(report['operators'].values()):,}, of {plural(len(report['operators']), 'kind')}",
        "MACs": macs_text,
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
    """Describe the files uploaded with the model that are not weights."""
    kinds = [kind for kind in (file.get("beside") or {}).values() if kind != "unknown"]
    names = {"tokenizer": "tokenizer files", "settings": "settings", "text": "text files"}
    present = [names[kind] for kind in names if kind in kinds]
    return f"; beside it {' and '.join(present)}, which are not weights" if present else ""
