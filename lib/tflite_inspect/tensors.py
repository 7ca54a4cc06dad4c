"""Every tensor of the first graph with its quantisation, and the weights of all graphs. Values are not read."""

from __future__ import annotations

from math import prod
from typing import Any

from lib.reports.words import cut
from lib.tflite_inspect import names
from lib.tflite_inspect.graph import Node, Shapes, free, size, weight_bytes

MAX_LISTED = 50_000  # listed one by one
NAME = 300  # characters
SCALES = 8  # of a tensor, in the list
READERS = 8


def quantization(tensor: dict[str, Any]) -> dict[str, Any] | None:
    """``scale`` and ``zero_point`` (real = scale x (stored - zero point)), one or one a slice along ``axis``; the first of
    many. None where the tensor has none."""
    found = tensor["quantization"]
    if found is None:
        return None
    if not len(found["scale"]):
        # parameters of a kind without a list of scales: in blocks, or an author's own
        return {"kind": "blockwise or custom", "count": None} if found["details"] is not None else None
    several = len(found["scale"]) > 1
    out: dict[str, Any] = {
        "kind": "per channel" if several else "per tensor",
        "count": len(found["scale"]),
        "scale": [float(v) if v == v and abs(v) != float("inf") else None for v in found["scale"][:SCALES]],
        "zero_point": [int(v) for v in found["zero_point"][:SCALES]],
    }
    return out | ({"axis": int(found["dimension"])} if several else {})


def listed(model: dict[str, Any], nodes: list[Node], shapes: Shapes) -> list[dict[str, Any]]:
    """Of the first graph, in the file's order. ``kind``: input, output, weight, variable or activation."""
    graph = model["subgraphs"][0]
    inputs, outputs = set(graph["inputs"].tolist()), set(graph["outputs"].tolist())
    rows = []
    for number, tensor in enumerate(graph["tensors"][:MAX_LISTED]):
        kind = "input" if number in inputs else "output" if number in outputs else ""
        kind = kind or ("variable" if tensor["is_variable"] else "weight" if weight_bytes(model, tensor) else "activation")
        rows.append(
            {
                "index": number,
                "name": cut(tensor["name"], NAME),
                "kind": kind,
                "dtype": names.dtype(tensor["type"]),
                "shape": free(tensor),
                "measured": None if shapes.get(number) is None else list(shapes[number] or ()),
                "bytes": size(model, tensor, shapes.get(number)),
                "quantization": quantization(tensor),
                "sparse": tensor["sparsity"] is not None,
            }
        )
    return rows


def weights(model: dict[str, Any], nodes: dict[int, list[Node]]) -> list[dict[str, Any]]:
    """Largest first, with the nodes that read each; what several tensors share is listed with each of them."""
    out = []
    for number, graph in enumerate(model["subgraphs"]):
        readers: dict[int, list[str]] = {}
        for node in nodes[number]:
            for tensor in dict.fromkeys(node.inputs):
                readers.setdefault(tensor, []).append(node.name)
        for index, tensor in enumerate(graph["tensors"]):
            if not weight_bytes(model, tensor):
                continue
            found = readers.get(index, [])
            out.append(
                {
                    "name": cut(tensor["name"], NAME),
                    "index": index,
                    "graph": number,
                    "dtype": names.dtype(tensor["type"]),
                    "shape": tensor["shape"].tolist(),
                    "count": prod(tensor["shape"].tolist()),
                    "bytes": weight_bytes(model, tensor),
                    "used_by": found[:READERS],
                    "uses": len(found),
                    "sparse": tensor["sparsity"] is not None,
                    "quantization": quantization(tensor),
                }
            )
    return sorted(out, key=lambda one: -one["bytes"])[:MAX_LISTED]


def parameters(model: dict[str, Any]) -> dict[str, Any]:
    """Elements and bytes by dtype, of weights; what tensors share counts once. ``quantized``: bytes that have scales."""
    by_dtype: dict[str, dict[str, int]] = {}
    seen: set[int] = set()
    scaled = 0
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            bytes_ = weight_bytes(model, tensor)
            if not bytes_ or tensor["buffer"] in seen:
                continue
            seen.add(tensor["buffer"])
            one = by_dtype.setdefault(names.dtype(tensor["type"]), {"count": 0, "bytes": 0})
            one["count"] += prod(tensor["shape"].tolist())
            one["bytes"] += bytes_
            scaled += bytes_ if quantization(tensor) else 0
    ordered = dict(sorted(by_dtype.items(), key=lambda item: -item[1]["bytes"]))
    total = sum(v["count"] for v in by_dtype.values())
    return {"count": total, "bytes": sum(v["bytes"] for v in by_dtype.values()), "by_dtype": ordered, "quantized": scaled}
