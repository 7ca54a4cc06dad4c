"""The operators of a file as nodes: names, tensors, the graphs that they run. Of a file as ``lib.tflite.file`` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from lib.tflite_inspect import names

Shape = tuple[int, ...]
Shapes = dict[int, Shape | None]  # by tensor; None: not known before a run
# operators that run other graphs: where their numbers stand in the options
BODIES = {"IF": (0, 1), "WHILE": (0, 1), "CALL": (0,), "CALL_ONCE": (0,), "STABLEHLO_COMPOSITE": (1,)}


@dataclass(slots=True)
class Node:
    """``inputs`` and ``outputs`` are numbers of tensors, -1 where an optional one is left out."""

    index: int
    operator: str
    custom: bool
    inputs: list[int]
    outputs: list[int]
    bodies: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The format gives operators no names."""
        return f"{self.operator}_{self.index}"


def nodes(model: dict[str, Any], number: int) -> list[Node]:
    """Of one graph, in the order in which they run."""
    out = []
    for k, one in enumerate(model["subgraphs"][number]["operators"]):
        name = names.operator(model, one)
        node = Node(k, name, names.is_custom(model, one), one["inputs"].tolist(), one["outputs"].tolist())
        options = one["options2"] if name == "STABLEHLO_COMPOSITE" else one["options"]
        if options is not None and not node.custom:
            found = (options.int32(slot) for slot in BODIES.get(name, ()))
            node.bodies = [body for body in found if 0 <= body < len(model["subgraphs"])]
        out.append(node)
    return out


def weight_bytes(model: dict[str, Any], tensor: dict[str, Any]) -> int:
    """Bytes of weights that the file holds for a tensor."""
    buffer = model["buffers"][tensor["buffer"]]
    return len(buffer["data"]) or (buffer["size"] if buffer["offset"] > 1 else 0)


def declared(model: dict[str, Any], number: int) -> Shapes:
    """The shapes that the file states, where free dimensions mostly stand as 1."""
    return {k: tuple(t["shape"].tolist()) for k, t in enumerate(model["subgraphs"][number]["tensors"])}


def free(tensor: dict[str, Any]) -> list[int | None]:
    """The declared shape, None where a dimension is free."""
    stated = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]
    return [int(d) if d >= 0 else None for d in stated]


def size(model: dict[str, Any], tensor: dict[str, Any], shape: Sequence[int] | None) -> int | None:
    """Bytes of a tensor of ``shape``; None where that is not known."""
    if found := weight_bytes(model, tensor):
        return found
    bits = names.BITS.get(names.dtype(tensor["type"]))
    return None if shape is None or bits is None else (prod(shape) * bits + 7) // 8


def graph_name(model: dict[str, Any], number: int) -> str:
    """Of a graph that is not the first."""
    return model["subgraphs"][number]["name"][:60] or f"graph {number}"
