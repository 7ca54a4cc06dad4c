"""Inputs and activations that are alive at once, in the order in which the operators run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lib.tflite_inspect.graph import Node, Shapes, size, weight_bytes


@dataclass(slots=True)
class Memory:
    """Bytes; ``unknown`` values have no known size and are missing in it. ``at`` is a node's name, or the start."""

    peak: int
    at: str
    over: list[int] = field(default_factory=list)
    unknown: int = 0


def memory(model: dict[str, Any], graph: dict[str, Any], nodes: list[Node], shapes: Shapes) -> Memory:
    """A value lives from the node that makes it to the last that reads it. The runtime's own plan may take more."""
    outputs, last = set(graph["outputs"].tolist()), {}
    for node in nodes:
        last |= dict.fromkeys(node.inputs, node.index)
    unknown: set[int] = set()

    def bytes_of(number: int) -> int:
        tensor = graph["tensors"][number]
        if weight_bytes(model, tensor):
            return 0  # a weight stays in the file
        found = size(model, tensor, shapes.get(number))
        if found is None:
            unknown.add(number)
        return found or 0

    alive = set(graph["inputs"].tolist())
    live = sum(map(bytes_of, alive))
    out = Memory(live, "the start")
    for node in nodes:
        made = {t for t in node.outputs if t >= 0} - alive
        live += sum(map(bytes_of, made))
        alive |= made
        out.over.append(live)
        if live > out.peak:
            out.peak, out.at = live, node.name
        for tensor in {*node.inputs, *made} & alive:
            if tensor not in outputs and last.get(tensor, node.index) <= node.index:
                alive.remove(tensor)
                live -= bytes_of(tensor)
    out.unknown = len(unknown)
    return out
