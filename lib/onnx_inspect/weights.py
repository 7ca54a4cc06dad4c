"""Values of one tensor: range, sparsity, histogram."""

from __future__ import annotations

from math import prod
from typing import Any

from onnx import TensorProto

from lib.errors import InvalidValue
from lib.onnx_model.open import Model, byte_size, dtype_name
from lib.reports import values as values_


def named(model: Model) -> dict[str, TensorProto]:
    """Initializers, then the tensors of Constant nodes under their outputs' names."""
    graph = model.proto.graph
    found = {t.name: t for t in graph.initializer}
    found |= {s.values.name: s.values for s in graph.sparse_initializer}
    for node in graph.node:
        for a in node.attribute:
            if node.op_type == "Constant" and a.HasField("t") and node.output:
                found.setdefault(node.output[0], a.t)
    return found


def statistics(model: Model, name: str) -> dict[str, Any]:
    """What it is, and ``lib.reports.values.statistics`` of its values.

    Of a sparse initializer, ``count`` and the statistics are over the values it stores, ``zeros`` and
    ``sparsity`` over its whole shape. Raises InvalidValue for a name that is no weight, InvalidFile where its file is
    missing.
    """
    tensors = named(model)
    if name not in tensors:
        raise InvalidValue("tensor", name, f"one of the model's {len(tensors)} initializers and constants")
    tensor = tensors[name]
    values = model.array(tensor).reshape(-1)
    dims = next((s.dims for s in model.proto.graph.sparse_initializer if s.values.name == name), tensor.dims)
    whole = prod(dims) if dims is not tensor.dims else values.size  # a sparse one's other elements are zeros
    out: dict[str, Any] = {
        "name": name,
        "dtype": dtype_name(tensor.data_type),
        "shape": list(dims),
        "count": int(values.size),
        "bytes": byte_size(tensor),
    }
    return out | values_.statistics(values, whole)
