"""The nodes of a model with their types: functions are inlined, nodes of subgraphs are scoped by their path."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, inliner

from lib.onnx_inspect.shapes import Type, types

CONTROL = ("If", "Loop", "Scan", "SequenceMap")
SCOPE = 100  # maximum characters of a node's name in the scope of its bodies


@dataclass(slots=True)
class Node:
    """One node. ``scope`` is "" in the main graph, else a path such as "If_3/then_branch/"."""

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
        """Operator name, with its domain unless that is ai.onnx: ``Conv``, ``com.microsoft.FusedConv``."""
        full_name = self.op_type if self.domain in ("", "ai.onnx") else f"{self.domain}.{self.op_type}"
        return full_name if len(full_name) <= 2 * SCOPE else f"{full_name[: 2 * SCOPE]}…"

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return the value of an attribute, or ``default`` if it is not set."""
        for a in self.proto.attribute:
            if a.name == name and a.type != AttributeProto.UNDEFINED:
                return onnx.helper.get_attribute_value(a)
        return default

    def type_of(self, k: int) -> Type | None:
        """Return the type of input ``k``, or None if it is omitted or unknown."""
        return self.types.get(self.inputs[k]) if k < len(self.inputs) and self.inputs[k] else None

    def output_type(self, k: int = 0) -> Type | None:
        """Return the type of output ``k``, or None if it is unknown."""
        return self.types.get(self.outputs[k]) if k < len(self.outputs) else None


def inlined(model: ModelProto) -> ModelProto:
    """Inline the model-local functions: each call is replaced by the function's nodes."""
    return inliner.inline_local_functions(model) if model.functions else model


def nodes(model: ModelProto) -> list[Node]:
    """Return the main graph's nodes in file order. Their subgraphs are in ``bodies``."""
    return _nodes(model.graph, "", types(model))


def _nodes(graph: GraphProto, scope: str, visible: Mapping[str, Type]) -> list[Node]:
    result = []
    for k, proto in enumerate(graph.node):
        name = proto.name or f"{proto.op_type}_{k}"
        node = Node(k, name, proto.op_type, proto.domain, scope, tuple(proto.input), tuple(proto.output), proto, visible)
        captured: Counter[str] = Counter()
        for attribute in proto.attribute:
            graphs = ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
            for j, inner in enumerate(graphs):
                key = attribute.name[:SCOPE] if len(graphs) == 1 else f"{attribute.name[:SCOPE]}[{j}]"
                # a view, not a copy: a thousand branches may see a hundred thousand values
                inside = ChainMap(types(ModelProto(graph=inner)), visible)  # type: ignore[arg-type]
                node.bodies[key] = _nodes(inner, f"{scope}{name[:SCOPE]}/{key}/", inside)
                captured.update(free_values(inner))
        node.captured = tuple(captured)
        result.append(node)
    return result


def free_values(graph: GraphProto) -> set[str]:
    """Return the names of outer values that a subgraph reads."""
    defined = (
        {v.name for v in graph.input}
        | {t.name for t in graph.initializer}
        | {s.values.name for s in graph.sparse_initializer}
    )
    free: set[str] = set()
    for node in graph.node:
        used = set(node.input)
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                used |= free_values(inner)
        free |= used - defined
        defined |= set(node.output)
    return (free | {v.name for v in graph.output} - defined) - defined - {""}


def flat(found: list[Node]) -> list[Node]:
    """Return these nodes and those of their subgraphs, each body after its node."""
    result = []
    for node in found:
        result.append(node)
        for body in node.bodies.values():
            result += flat(body)
    return result


def readers(found: list[Node]) -> dict[str, list[int]]:
    """Return, for each value of a graph, the indices of the nodes that read it, directly or in their subgraphs."""
    indices: dict[str, list[int]] = {}
    for node in found:
        for name in dict.fromkeys((*node.inputs, *node.captured)):
            if name:
                indices.setdefault(name, []).append(node.index)
    return indices
