"""A model's nodes as a flat list: functions inlined, subgraphs named by their path. Pure structure."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, inliner

from lib.onnx_inspect.shapes import Type, types

CONTROL = ("If", "Loop", "Scan", "SequenceMap")
SCOPE = 100  # characters of a node's name in the scope of its bodies


@dataclass(slots=True)
class Node:
    """One operator. ``scope`` is "" in the main graph, else "If_3/then_branch" and so on."""

    index: int  # in its own graph
    name: str
    op_type: str
    domain: str
    scope: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    proto: NodeProto
    types: Mapping[str, Type]  # of every value visible here
    bodies: dict[str, list[Node]] = field(default_factory=dict)  # subgraphs by attribute
    captured: tuple[str, ...] = ()  # outer values that its subgraphs read

    @property
    def operator(self) -> str:
        """With its domain unless that is ai.onnx: ``Conv``, ``com.microsoft.FusedConv``."""
        whole = self.op_type if self.domain in ("", "ai.onnx") else f"{self.domain}.{self.op_type}"
        return whole if len(whole) <= 2 * SCOPE else f"{whole[: 2 * SCOPE]}…"

    def attribute(self, name: str, default: Any = None) -> Any:
        for a in self.proto.attribute:
            if a.name == name and a.type != AttributeProto.UNDEFINED:
                return onnx.helper.get_attribute_value(a)
        return default

    def type_of(self, k: int) -> Type | None:
        """Type of input ``k``; None where it is left out or unknown."""
        return self.types.get(self.inputs[k]) if k < len(self.inputs) and self.inputs[k] else None

    def output_type(self, k: int = 0) -> Type | None:
        return self.types.get(self.outputs[k]) if k < len(self.outputs) else None


def inlined(model: ModelProto) -> ModelProto:
    """Without model-local functions: each call is replaced by the function's nodes."""
    return inliner.inline_local_functions(model) if model.functions else model


def nodes(model: ModelProto) -> list[Node]:
    """The main graph's nodes in file order; subgraphs hang in ``bodies``."""
    return _nodes(model.graph, "", types(model))


def _nodes(graph: GraphProto, scope: str, visible: Mapping[str, Type]) -> list[Node]:
    out = []
    for k, proto in enumerate(graph.node):
        name = proto.name or f"{proto.op_type}_{k}"
        node = Node(k, name, proto.op_type, proto.domain, scope, tuple(proto.input), tuple(proto.output), proto, visible)
        captured: Counter[str] = Counter()
        for attribute in proto.attribute:
            graphs = ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
            for j, inner in enumerate(graphs):
                key = attribute.name[:SCOPE] if len(graphs) == 1 else f"{attribute.name[:SCOPE]}[{j}]"
                # a view and no copy: a thousand branches may see a hundred thousand values
                inside = ChainMap(types(ModelProto(graph=inner)), visible)  # type: ignore[arg-type]
                node.bodies[key] = _nodes(inner, f"{scope}{name[:SCOPE]}/{key}/", inside)
                captured.update(free_values(inner))
        node.captured = tuple(captured)
        out.append(node)
    return out


def free_values(graph: GraphProto) -> set[str]:
    """Names that a subgraph reads from outside."""
    own = (
        {v.name for v in graph.input}
        | {t.name for t in graph.initializer}
        | {s.values.name for s in graph.sparse_initializer}
    )
    found: set[str] = set()
    for node in graph.node:
        used = set(node.input)
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                used |= free_values(inner)
        found |= used - own
        own |= set(node.output)
    return (found | {v.name for v in graph.output} - own) - own - {""}


def flat(found: list[Node]) -> list[Node]:
    """These nodes and those of their subgraphs, each body after its owner."""
    out = []
    for node in found:
        out.append(node)
        for body in node.bodies.values():
            out += flat(body)
    return out


def readers(found: list[Node]) -> dict[str, list[int]]:
    """For each value of one graph, the indices of the nodes that read it, through subgraphs too."""
    out: dict[str, list[int]] = {}
    for node in found:
        for name in dict.fromkeys((*node.inputs, *node.captured)):
            if name:
                out.setdefault(name, []).append(node.index)
    return out
