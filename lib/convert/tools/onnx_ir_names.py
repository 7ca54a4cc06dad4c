"""Names in a model of onnx_ir as torch's exporter makes it: both ends called as in a signature, no name there twice.

The exporter names outputs as it is told and values inside after their operators: a layer called ``conv2d`` collides
with the convolution in it, and in ONNX a name stands for one value only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lib.model_inputs.signature import Signature


def apply_signature(model: Any, signature: Signature) -> None:
    """Renames in place; ``model`` has the signature's inputs and outputs by position."""
    _symbols(model, signature)
    graph = model.graph
    _own_outputs(graph)
    wanted = {id(v): s.name for v, s in zip(graph.inputs, signature.inputs, strict=True)}
    wanted |= {id(v): s.name for v, s in zip(graph.outputs, signature.outputs, strict=True)}
    taken = set(wanted.values())
    seen: set[int] = set()
    for value in _values(graph):
        if id(value) in wanted or id(value) in seen:
            continue
        seen.add(id(value))
        value.name = _unused(value.name or "value", taken)
    for value in (*graph.inputs, *graph.outputs):
        value.name = wanted[id(value)]
    nodes: set[str] = set()
    for node in graph.all_nodes():
        node.name = _unused(node.name or node.op_type, nodes)


def _own_outputs(graph: Any) -> None:
    """An output that is an input, a weight or another output gets a value of its own."""
    import onnx_ir

    ends = {id(v) for v in graph.inputs} | {id(v) for v in graph.initializers.values()}
    for k, value in enumerate(graph.outputs):
        if id(value) in ends:
            node = onnx_ir.node("Identity", [value])
            node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
            graph.append(node)
            graph.outputs[k] = node.outputs[0]
        ends.add(id(graph.outputs[k]))


def _values(graph: Any) -> Iterator[Any]:
    yield from graph.inputs
    yield from list(graph.initializers.values())
    for node in graph.all_nodes():
        for attribute in node.attributes.values():
            for inner in _graphs(attribute):
                yield from inner.inputs
                yield from list(inner.initializers.values())
        yield from node.outputs


def _graphs(attribute: Any) -> list[Any]:
    kind = attribute.type.name
    return [attribute.value] if kind == "GRAPH" else list(attribute.value) if kind == "GRAPHS" else []


def _unused(name: str, taken: set[str]) -> str:
    found, count = name, 1
    while found in taken:
        found, count = f"{name}_{count}", count + 1
    taken.add(found)
    return found


def _symbols(model: Any, signature: Signature) -> None:
    """Symbols of the graph, such as s47, get the names of the signature's dynamic dimensions."""
    names: dict[str, str] = {}
    for value, given in zip(model.graph.inputs, signature.inputs, strict=True):
        for ours, wanted in zip(value.shape, given.shape, strict=True):
            if isinstance(wanted, str) and not isinstance(ours, int) and ours.value is not None:
                names[str(ours.value)] = wanted
        if not value.uses():  # the exporter fixes what nothing reads
            value.shape = type(value.shape)([d if isinstance(d, int) else str(d) for d in given.shape])
    if not names:
        return
    known = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")  # also in expressions, such as (s47 + 1)//2
    for value in (*model.graph.inputs, *model.graph.outputs, *(o for node in model.graph for o in node.outputs)):
        dims = list(value.shape or ())
        told = [d if isinstance(d, int) or d.value is None else known.sub(lambda m: names[m[0]], d.value) for d in dims]
        if any(not isinstance(d, int) and d.value != t for d, t in zip(dims, told, strict=True)):
            value.shape = type(value.shape)(told)  # a new one: some shapes are frozen
