"""What is wrong with a file, or may surprise. Its structure has been verified: what is not sound was refused before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from lib.reports.words import Problem
from lib.tflite import file as tflite_file
from lib.tflite_inspect import names
from lib.tflite_inspect.graph import Node
from lib.tflite_inspect.shapes import Measured

MAX_PER_KIND = 50  # of one kind; the rest is a number
MAX_READ = 1 << 30  # bytes of weights whose values are looked at
FLEX = "Flex"
RUNTIME = "Export it again with an older converter, or use a newer runtime."


def problems(
    model: dict[str, Any], nodes: list[Node], measured: Measured, metadata: dict[str, Any] | None, unread: str
) -> list[Problem]:
    """Errors first. ``unread``: why the metadata that are there cannot be read."""
    found: list[Problem] = []
    if measured.refused:
        fix = _fix(nodes) or "Export the model again, or try other sizes."
        found.append(Problem("error", "model", f"LiteRT refuses it: {measured.refused}", fix, "litert"))
    if measured.failed:
        words = f"a run on zeros fails: {measured.failed}"
        found.append(
            Problem("warning", "model", words, "Other inputs may work: try Run. Some shapes remain unknown.", "litert")
        )
    for check in (_operators(nodes), _quantization(model), _values(model), _dead(model, nodes)):
        alike = list(islice(check, MAX_PER_KIND + 1))
        found += alike[:MAX_PER_KIND]
        if len(alike) > MAX_PER_KIND:
            found.append(Problem(alike[-1].severity, "model", "There are more like these.", "", alike[-1].rule))
    found += _metadata(metadata, unread)
    if not model["signature_defs"]:
        words = "it has no signature: inputs and outputs are named after their tensors"
        found.append(Problem("info", "model", words, "Newer converters write one.", "no-signature"))
    return sorted(found, key=lambda p: ("error", "warning", "info").index(p.severity))


def _fix(nodes: list[Node]) -> str:
    if any(n.custom and n.operator.startswith(FLEX) for n in nodes):
        return "It needs TensorFlow's own operators (Select TF ops), which LiteRT lacks. Convert it without them."
    return "Only its author's runtime implements its custom operators." if any(n.custom for n in nodes) else ""


def _operators(nodes: list[Node]) -> Iterator[Problem]:
    for name in dict.fromkeys(n.operator for n in nodes if n.custom):
        first = next(n for n in nodes if n.operator == name)
        yield Problem("warning", first.name, f"{name[:80]!r} is a custom operator", _fix([first]), "custom-operator")
    for name in dict.fromkeys(n.operator for n in nodes if n.operator.startswith("unknown operator")):
        first = next(n for n in nodes if n.operator == name)
        yield Problem("warning", first.name, f"{name} is newer than this runtime", RUNTIME, "newer-operator")


def _quantization(model: dict[str, Any]) -> Iterator[Problem]:
    fix = "Quantise the model again."
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            one = tensor["quantization"]
            if one is None or not len(one["scale"]):
                continue
            scales, zeros = one["scale"], one["zero_point"]
            odd = int((~np.isfinite(scales) | (scales <= 0)).sum())
            if odd:
                words = f"{odd:,} of its {len(scales):,} scales are not positive"
                yield Problem("warning", tensor["name"], words, fix, "scale")
            if len(zeros) not in (0, 1, len(scales)):
                words = f"{len(zeros):,} zero points for {len(scales):,} scales"
                yield Problem("warning", tensor["name"], words, fix, "zero-point")
            axis, shape = int(one["dimension"]), tensor["shape"]
            if len(scales) > 1 and (axis >= len(shape) or shape[axis] != len(scales)):
                words = f"{len(scales):,} scales along axis {axis} of {shape.tolist()}"
                yield Problem("warning", tensor["name"], words, fix, "scale")
            kind = names.dtype(tensor["type"])
            if kind in ("int8", "uint8", "int16") and len(zeros):
                limits = np.iinfo(kind)
                if ((zeros < limits.min) | (zeros > limits.max)).any():
                    yield Problem("warning", tensor["name"], f"a zero point is not {kind}", fix, "zero-point")


def _values(model: dict[str, Any]) -> Iterator[Problem]:
    seen: set[int] = set()
    read = 0
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            if tensor["buffer"] in seen or names.dtype(tensor["type"]) not in ("float32", "float16"):
                continue
            seen.add(tensor["buffer"])
            values = tflite_file.stored(model, tensor)
            if values is None:
                continue
            if (read := read + values.nbytes) > MAX_READ:
                words = f"only the first {MAX_READ >> 30} GB of weights were checked for NaN and infinity"
                yield Problem("info", "model", words, "", "values")
                return
            if odd := values.size - int(np.isfinite(values).sum()):
                words = f"{odd:,} of its {values.size:,} values are not finite"
                yield Problem("warning", tensor["name"], words, "Train or export the model again.", "not-finite")


def _dead(model: dict[str, Any], nodes: list[Node]) -> Iterator[Problem]:
    graph = model["subgraphs"][0]
    used = {t for n in nodes for t in n.inputs} | set(graph["outputs"].tolist())
    for node in nodes:
        if node.outputs and not used & set(node.outputs) and not node.bodies and "ASSIGN" not in node.operator:
            yield Problem("info", node.name, "nothing reads its output", "Convert the model again.", "unread-node")
    variables = {k for k, t in enumerate(graph["tensors"]) if t["is_variable"]}
    for number in graph["inputs"].tolist():
        if number not in used and number not in variables:
            words = "no operator reads this input"
            yield Problem("info", graph["tensors"][number]["name"], words, "", "unread-input")


def _metadata(found: dict[str, Any] | None, unread: str) -> Iterator[Problem]:
    fix = "Write it under Metadata."
    if unread:
        yield Problem("warning", "metadata", f"it cannot be read: {unread}", fix, "metadata")
    elif found is not None and not found["present"]:
        words = "the file has no metadata: labels, normalization, author and licence are unknown"
        yield Problem("info", "metadata", words, fix, "no-metadata")
        return
    if found is None:
        return
    for words in found["problems"]:
        yield Problem("warning", "metadata", words, fix, "metadata")
    if not found["license"]:
        yield Problem("info", "metadata", "it names no licence", fix, "no-licence")
