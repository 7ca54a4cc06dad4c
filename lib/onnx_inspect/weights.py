"""Statistics of the values of one tensor: range, sparsity, histogram."""

from __future__ import annotations

from math import prod
from typing import Any

from onnx import TensorProto

from lib.errors import InvalidValue
from lib.onnx_model.open import Model, byte_size, dtype_name
from lib.reports import values as values_


def named(model: Model) -> dict[str, TensorProto]:
    """Return the initializers by name, and the tensors of Constant nodes by output name."""
    graph = model.proto.graph
    by_name = {t.name: t for t in graph.initializer}
    by_name |= {s.values.name: s.values for s in graph.sparse_initializer}
    for node in graph.node:
        for a in node.attribute:
            if node.op_type == "Constant" and a.HasField("t") and node.output:
                by_name.setdefault(node.output[0], a.t)
    return by_name


def statistics(model: Model, name: str) -> dict[str, Any]:
    """Return the description of a tensor and ``lib.reports.values.statistics`` of its values.

    For a sparse initializer, ``count`` and the statistics cover the stored values; ``zeros`` and ``sparsity`` cover the
    whole shape. Raises InvalidValue if no weight has that name, and InvalidFile if its file is missing.
    """
    tensors = named(model)
    if name not in tensors:
        raise InvalidValue("tensor", name, f"one of the model's {len(tensors)} initializers and constants")
    tensor = tensors[name]
    values = model.array(tensor).reshape(-1)
    dims = next((s.dims for s in model.proto.graph.sparse_initializer if s.values.name == name), tensor.dims)
    element_count = prod(dims) if dims is not tensor.dims else values.size  # the other elements of a sparse tensor are zeros
    description: dict[str, Any] = {
        "name": name,
        "dtype": dtype_name(tensor.data_type),
        "shape": list(dims),
        "count": int(values.size),
        "bytes": byte_size(tensor),
    }
    return description | values_.statistics(values, element_count)
