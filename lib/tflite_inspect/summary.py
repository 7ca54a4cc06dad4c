"""Puts the report of a file together: the contract of ``/inspect_onnx`` for ``format`` "tflite"."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.reports.words import cut
from lib.tflite import file as tflite_file
from lib.tflite.flatbuffer import check_tflite
from lib.tflite.signatures import parts
from lib.tflite_inspect import about, names, tensors
from lib.tflite_inspect.graph import Node, Shapes, declared, free, graph_name, nodes, size, weight_bytes
from lib.tflite_inspect.macs import Cost, Passes
from lib.tflite_inspect.memory import memory
from lib.tflite_inspect.problems import problems
from lib.tflite_inspect.shapes import Measured, measured, signature

TEXT = 4000  # characters of a text from the file
MAX_NODES = 50_000  # listed one by one
MAX_COUNT = 1 << 62


def report(path: Path, name: str, sizes: dict[str, int]) -> dict[str, Any]:
    """JSON-ready. Raises InvalidFile for what is no sound file, InvalidValue for a size of no free dimension.

    Keys as in an ONNX report where they mean the same (``lib/onnx_inspect/report.py``); bytes are bytes, a shape is a
    list of numbers, symbols and None (unknown). ``tensors`` and ``signatures`` are this format's own, ``metadata`` is what
    ``lib.tflite.tasks`` tells, None where they are damaged.
    """
    check_tflite(path)
    model = tflite_file.read(path)
    plan = measured(path, model, sizes)
    every = {k: nodes(model, k) for k in range(len(model["subgraphs"]))}
    shapes = {k: plan.shapes if k == 0 else declared(model, k) for k in every}
    passes = Passes(model, shapes.__getitem__)
    costs, whole = passes.nodes(0), passes.of(0)
    alive = memory(model, model["subgraphs"][0], every[0], plan.shapes)
    metadata, unread = about.metadata(path)
    listed = [_node(model, node, one, plan.shapes) for node, one in zip(every[0][:MAX_NODES], costs, strict=False)]
    listed += [_inner(model, k, node) for k, some in every.items() if k for node in some][: MAX_NODES - len(listed)]
    found = problems(model, every[0], plan, metadata, unread)
    inputs, outputs = _ends(model)
    return {
        "format": "tflite",
        "file": {"name": name, "bytes": path.stat().st_size, "external": [], "beside": {}},
        "missing": {},
        "valid": not any(p.severity == "error" for p in found),
        "problems": [asdict(p) for p in found],
        "schema_version": model["version"],
        "min_runtime": about.runtime(model),
        "litert": {"version": importlib.metadata.version("ai-edge-litert"), "plans": not plan.refused},
        "doc_string": cut(model["description"], TEXT),
        "entries": about.entries(model),
        "metadata": metadata,
        "signatures": [s | {"macs": passes.of(s["graph"]).macs} for s in about.signatures(model)],
        "inputs": inputs,
        "outputs": outputs,
        "symbols": _symbols(model, plan),
        "sizes": plan.sizes,
        "sizes_note": plan.note,
        "parameters": tensors.parameters(model),
        "initializers": tensors.weights(model, every),
        "tensors": tensors.listed(model, every[0], plan.shapes),
        "tensors_left_out": max(0, len(model["subgraphs"][0]["tensors"]) - tensors.MAX_LISTED),
        "operators": dict(Counter(node.operator for some in every.values() for node in some).most_common()),
        "subgraphs": [{"scope": graph_name(model, k), "operator": "", "nodes": len(some)} for k, some in every.items() if k],
        "macs": whole.macs,
        "macs_by_operator": {k: min(v, MAX_COUNT) for k, v in whole.by.most_common() if v},
        "not_counted": [{"operator": o, "reason": r, "nodes": n} for (o, r), n in whole.not_counted.items()],
        "memory": {
            "peak_bytes": min(alive.peak, MAX_COUNT),
            "at": alive.at,
            "over_nodes": alive.over,
            "unknown": alive.unknown,
        },
        "nodes": listed,
        "nodes_left_out": sum(map(len, every.values())) - len(listed),
    }


def _node(model: dict[str, Any], node: Node, one: Cost, shapes: Shapes) -> dict[str, Any]:
    graph = model["subgraphs"][0]["tensors"]
    weights = [t for t in dict.fromkeys(node.inputs) if t >= 0 and weight_bytes(model, graph[t])]
    moved = [[size(model, graph[t], shapes.get(t)) for t in some if t >= 0 and t not in weights]
             for some in (dict.fromkeys(node.inputs), node.outputs)]  # fmt: skip
    read, made = (None if None in some else sum(some) for some in moved)  # type: ignore[arg-type]
    held_bytes = sum(weight_bytes(model, graph[t]) for t in weights)
    total = None if read is None or made is None else read + made + held_bytes
    return _named(model, 0, node) | {
        "output_shapes": [None if shapes.get(t) is None else list(shapes[t] or ()) for t in node.outputs if t >= 0],
        "macs": one.macs,
        "reason": one.reason,
        "parameters": sum(_count(graph[t]) for t in weights),
        "weight_bytes": held_bytes,
        "input_bytes": read,
        "output_bytes": made,
        "intensity": float(f"{2 * one.macs / total:.4g}") if one.macs and total else None,
    }


def _count(tensor: dict[str, Any]) -> int:
    out = 1
    for d in tensor["shape"].tolist():
        out *= d
    return out


def _inner(model: dict[str, Any], number: int, node: Node) -> dict[str, Any]:
    """Of another graph: its cost is in the node that runs the graph, or in that graph's signature."""
    graph = model["subgraphs"][number]["tensors"]
    unknown = {"input_bytes": None, "output_bytes": None, "intensity": None}
    return (
        _named(model, number, node)
        | unknown
        | {
            "output_shapes": [free(graph[t]) for t in node.outputs if t >= 0],
            "macs": None,
            "reason": "counted with what runs this graph",
            "parameters": 0,
            "weight_bytes": 0,
        }
    )


def _named(model: dict[str, Any], number: int, node: Node) -> dict[str, Any]:
    graph = model["subgraphs"][number]["tensors"]

    def called(some: list[int]) -> list[str]:
        return [cut(graph[t]["name"], tensors.NAME) for t in some if t >= 0]

    return {
        "index": node.index,
        "name": node.name,
        "operator": node.operator,
        "scope": f"{graph_name(model, number)}/" if number else "",
        "inputs": called(node.inputs),
        "outputs": called(node.outputs),
    }


def _ends(model: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of every signature that is run, by the names that a run takes."""
    takes = signature(model)
    symbols = {v.name: list(v.shape) for v in (*takes.inputs, *takes.outputs)} if takes is not None else {}
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = [], []
    for part in parts(model):
        graph = model["subgraphs"][part.graph]["tensors"]
        for side, ends in zip(sides, (part.inputs, part.outputs), strict=True):
            for name, number in ends.items():
                shape = symbols.get(name, free(graph[number]))
                one = {"name": cut(name, TEXT), "dtype": names.dtype(graph[number]["type"]), "shape": shape, "doc": ""}
                side.append(one | {"quantization": tensors.quantization(graph[number])})
    return sides


def _symbols(model: dict[str, Any], plan: Measured) -> dict[str, dict[str, Any]]:
    takes = signature(model)
    values = takes.inputs if takes is not None else ()
    places = {s: [f"{v.name}[{k}]" for v in values for k, d in enumerate(v.shape) if d == s] for s in plan.sizes}
    return {name: {"value": value, "at": places[name]} for name, value in plan.sizes.items()}
