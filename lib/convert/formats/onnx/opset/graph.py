"""The graph view that the opset steps work on: constants by name, ranks, and new initializers and names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TypeProto, helper, numpy_helper

from lib.convert.formats.onnx.names import every_name, unused


class Refused(Exception):
    """An operator, as used in the model, cannot be expressed at the target opset. The message says why."""


class Graph:
    """A graph of a model with its outer scopes. ``types`` holds the type of every value that inference found."""

    def __init__(self, proto: GraphProto, types: dict[str, TypeProto], outer: Graph | None = None) -> None:
        self.proto, self.types, self.outer = proto, types, outer
        self._held = {t.name: t for t in proto.initializer}
        self._made = {n.output[0]: n for n in proto.node if n.op_type == "Constant" and n.output}
        self._taken: set[str] = outer._taken if outer else every_name(proto)  # shared by all graphs of a model
        self._counts: dict[str, int] = outer._counts if outer else {}

    def constant(self, name: str) -> np.ndarray | None:
        """Returns the constant value of ``name``; None if it is computed or an input."""
        if name in self._held:
            return numpy_helper.to_array(self._held[name])
        if name in self._made:
            return constant_value(self._made[name])
        return self.outer.constant(name) if self.outer else None

    def rank(self, name: str) -> int:
        """Returns the rank of a value. Raises Refused if it is unknown."""
        value_type = self.types.get(name)
        if value_type is None or not value_type.tensor_type.HasField("shape"):
            raise Refused("the rank of its input is unknown")
        return len(value_type.tensor_type.shape.dim)

    def dims(self, name: str) -> list[int | None]:
        """Returns the sizes of a value, None for a dynamic one; [] for a scalar or an unknown shape."""
        value_type = self.types.get(name)
        if value_type is None or not value_type.tensor_type.HasField("shape"):
            return []
        return [d.dim_value if d.HasField("dim_value") else None for d in value_type.tensor_type.shape.dim]

    def add(self, value: np.ndarray) -> str:
        """Adds an initializer and returns its new name."""
        name = self.name("constant")
        self.proto.initializer.append(numpy_helper.from_array(value, name))
        self._held[name] = self.proto.initializer[-1]
        return name

    def name(self, stem: str) -> str:
        """Returns a name that no graph of the model uses."""
        self._counts[stem] = self._counts.get(stem, 0) + 1
        unique = unused(f"opset_{stem}_{self._counts[stem]}", self._taken)
        self._taken.add(unique)
        return unique


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Returns the value of an attribute, or ``default``."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    """Sets an attribute; None removes it."""
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def input_name(node: NodeProto, k: int) -> str:
    """Returns the name of input ``k``; "" if it is omitted."""
    return node.input[k] if k < len(node.input) else ""


def keep_inputs(node: NodeProto, count: int) -> None:
    """Drops all inputs after the first ``count``."""
    del node.input[count:]


def constant_value(node: NodeProto) -> np.ndarray | None:
    """Returns the value of a Constant node; None for sparse and string constants."""
    for a in node.attribute:
        value = helper.get_attribute_value(a)
        if a.name == "value":
            return numpy_helper.to_array(value)
        if a.name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
        if a.name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
    return None


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yields the subgraphs in the node's attributes."""
    for a in node.attribute:
        if a.type == AttributeProto.GRAPH:
            yield a.g
        yield from a.graphs
