"""Small values of a graph that follow from declared shapes alone: exporters ask for ranks and fixed sizes at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

Value = list[Any]  # numbers; None where a dimension is dynamic
DEEPEST = 40


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[list[Value]], Value | None]:
    def of(given: list[Value]) -> Value | None:
        a, b = given
        if len(a) != len(b) and 1 not in (len(a), len(b)):
            return None
        pairs = zip(a * max(1, len(b) // len(a)), b * max(1, len(a) // len(b)), strict=True)
        return [None if x is None or y is None else compare(x, y) for x, y in pairs]

    return of


COMPARISONS = {
    "Equal": _comparison(lambda x, y: x == y),
    "Greater": _comparison(lambda x, y: x > y),
    "Less": _comparison(lambda x, y: x < y),
    "GreaterOrEqual": _comparison(lambda x, y: x >= y),
    "LessOrEqual": _comparison(lambda x, y: x <= y),
}
SAME = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Cast"}


class KnownValues:
    """Of the main graph of ``model``; shapes as onnx's inference finds them."""

    def __init__(self, model: ModelProto) -> None:
        try:
            graph = onnx.shape_inference.infer_shapes(model).graph
        except Exception:  # a model whose declared and inferred types differ
            graph = model.graph
        self._shapes = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.input, *graph.output)}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._held = {t.name: t for t in model.graph.initializer}

    def of(self, name: str, depth: int = 0) -> Value | None:
        """The elements of ``name``, flat, None for each that is not known; None where nothing is."""
        if name in self._held:
            return _small(self._held[name])
        node = self._makers.get(name)
        if node is None or depth > DEEPEST:
            return None
        if node.op_type == "Constant":
            return _small(node.attribute[0].t) if node.attribute and node.attribute[0].HasField("t") else None
        if node.op_type == "Shape" and not node.attribute:
            return self._shape(node.input[0])
        given = [self.of(n, depth + 1) for n in node.input if n]
        if not given or any(v is None for v in given):
            return None
        return _computed(node, [v for v in given if v is not None])

    def _shape(self, name: str) -> Value | None:
        kind = self._shapes.get(name)
        if kind is None or not kind.HasField("shape"):
            return None
        return [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]


def _computed(node: NodeProto, given: list[Value]) -> Value | None:
    first = given[0]
    if node.op_type in SAME:
        return first
    if node.op_type == "Not":
        return [None if v is None else not v for v in first]
    if node.op_type == "Gather" and all(isinstance(k, int) and -len(first) <= k < len(first) for k in given[1]):
        return [first[k] for k in given[1]]
    if node.op_type in COMPARISONS and len(given) == 2 and all(given):
        return COMPARISONS[node.op_type](given)
    return None


def _small(tensor: onnx.TensorProto) -> Value | None:
    if np.prod(tensor.dims, dtype=float) > 64 or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    return numpy_helper.to_array(tensor).reshape(-1).tolist()
