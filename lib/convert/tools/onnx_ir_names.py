"""Renames values in torch's exported onnx_ir models: inputs and outputs as in the signature, every name unique.

The exporter names inner values after their operators, so an output called ``conv2d`` can collide with a convolution's
value; ONNX requires unique names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lib.model_inputs.signature import Signature


def apply_signature(model: Any, signature: Signature) -> None:
    """Renames in place. ``model`` has the signature's inputs and outputs in the same order."""
    _symbols(model, signature)
    graph = model.graph
    _own_outputs(graph)
    names = {id(v): s.name for v, s in zip(graph.inputs, signature.inputs, strict=True)}
    names |= {id(v): s.name for v, s in zip(graph.outputs, signature.outputs, strict=True)}
    used_names = set(names.values())
    seen: set[int] = set()
    for value in _values(graph):
        if id(value) in names or id(value) in seen:
            continue
        seen.add(id(value))
        value.name = _unused(value.name or "value", used_names)
    for value in (*graph.inputs, *graph.outputs):
        value.name = names[id(value)]
    nodes: set[str] = set()
    for node in graph.all_nodes():
        node.name = _unused(node.name or node.op_type, nodes)


def _own_outputs(graph: Any) -> None:
    """Inserts an Identity for an output that is also an input, a weight or another output."""
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
    candidate, count = name, 1
    while candidate in taken:
        candidate, count = f"{name}_{count}", count + 1
    taken.add(candidate)
    return candidate


def _symbols(model: Any, signature: Signature) -> None:
    """Renames the graph's symbols, such as s47, to the signature's dynamic dimensions."""
    names: dict[str, str] = {}
    for value, described in zip(model.graph.inputs, signature.inputs, strict=True):
        for dim, symbol in zip(value.shape, described.shape, strict=True):
            if isinstance(symbol, str) and not isinstance(dim, int) and dim.value is not None:
                names[str(dim.value)] = symbol
        if not value.uses():  # the exporter fixes the sizes of unused inputs
            value.shape = type(value.shape)([d if isinstance(d, int) else str(d) for d in described.shape])
    if not names:
        return
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")  # also in expressions, such as (s47 + 1)//2
    for value in (*model.graph.inputs, *model.graph.outputs, *(o for node in model.graph for o in node.outputs)):
        dims = list(value.shape or ())
        renamed = [d if isinstance(d, int) or d.value is None else pattern.sub(lambda m: names[m[0]], d.value) for d in dims]
        if any(not isinstance(d, int) and d.value != t for d, t in zip(dims, renamed, strict=True)):
            value.shape = type(value.shape)(renamed)  # a new object, since some shapes are frozen
