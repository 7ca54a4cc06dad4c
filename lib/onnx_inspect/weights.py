"""Values of one tensor: range, sparsity, histogram, read in pieces so that a big one costs no memory."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto

from lib.errors import InvalidValue
from lib.onnx_inspect.report import cut
from lib.onnx_model.open import MANY, Model, byte_size, dtype_name

PIECE = 1 << 22  # elements looked at together
BINS = 64
TEXT = 300  # characters of a string
SHOWN = 24  # first values in the answer


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
    """``minimum, maximum, mean, std`` over finite values, ``zeros, nan, infinite`` as counts, ``histogram``.

    Of a sparse initializer, ``count`` and the statistics are over the values it stores, ``zeros`` and
    ``sparsity`` over its whole shape.

    ``histogram`` has ``edges`` (65 numbers) and ``counts`` (64) over the finite values. std is the
    population's. Raises InvalidValue for a name that is no weight, InvalidFile when its file is missing.
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
    if values.dtype.kind in "OSU":
        return out | {"values": [cut(str(v), TEXT) for v in values[:SHOWN]]}
    pieces = [values[k : k + PIECE] for k in range(0, values.size, PIECE)]
    zeros = nan = infinite = finite = 0
    total, low, high = np.longdouble(0), np.inf, -np.inf
    for piece in map(_real, pieces):
        zeros += int((piece == 0).sum())
        nan += int(np.isnan(piece).sum())
        infinite += int(np.isinf(piece).sum())
        piece = piece[np.isfinite(piece)]
        finite += piece.size
        if piece.size:
            total += piece.sum(dtype=np.longdouble)
            low, high = min(low, float(piece.min())), max(high, float(piece.max()))
    zeros = min(zeros + max(whole - values.size, 0), MANY)
    out |= {"zeros": zeros, "sparsity": min(zeros / whole, 1.0) if whole > 0 else 0.0, "nan": nan, "infinite": infinite}
    out |= {"values": [_json(v) for v in _real(values[:SHOWN])]}
    if not finite:
        return out
    mean = float(total / finite)
    scale = 2.0**-600 if max(-low, high) > 2.0**500 else 1.0  # squares and differences of the largest would be infinite
    edges = np.linspace(low * scale, high * scale, BINS + 1) / scale
    if low == high:
        edges = np.linspace(low - 0.5, low + 0.5, BINS + 1)
    counts, squares = np.zeros(BINS, np.int64), 0.0
    for piece in map(_real, pieces):
        piece = piece[np.isfinite(piece)]
        counts += np.histogram(piece, edges)[0]
        squares += float(((piece * scale - mean * scale) ** 2).sum())
    std = float(np.sqrt(squares / finite)) / scale
    out |= {"minimum": low, "maximum": high, "mean": mean, "std": std}
    return out | {"histogram": {"edges": edges.tolist(), "counts": counts.tolist()}}


def _real(values: np.ndarray) -> np.ndarray:
    """As float64; complex numbers by their magnitude, 4-bit and 8-bit floats by their value."""
    if values.dtype.kind == "c":
        values = np.abs(values)
    return values.astype(np.float64)


def _json(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return float(value) if np.isfinite(value) else str(value)
