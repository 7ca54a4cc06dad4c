"""What OpenVINO's compression of weights to float16 loses: its constants in memory against those of the file."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from lib.convert.formats.onnx.lost_weights import WeightLoss, losses_of
from lib.onnx_model.open import Model, count

COMPRESSED = "_compressed"  # the suffix that OpenVINO gives to the name of a float16 constant in the file
THROUGH = set(  # a mask is carried through these to its softmax
    """Add Subtract Multiply Select Convert Reshape Unsqueeze Squeeze Broadcast Transpose Concat Gather Slice
    StridedSlice Tile Minimum Maximum""".split()  # noqa: SIM905
)
SOFTENING = {"Softmax", "ScaledDotProductAttention"}
BOUNDS = {"Minimum", "Maximum", "Less", "Greater", "LessEqual", "GreaterEqual", "Equal"}
ADDED = {"Add", "Subtract"} | BOUNDS


def find_losses(model: Any, saved: Any, source: Model) -> list[WeightLoss]:
    """``model`` as converted from ``source``, float32; ``saved`` as read from the file."""
    small = {
        op.get_friendly_name().removesuffix(COMPRESSED)
        for op in saved.get_ops()
        if op.get_type_name() == "Constant" and op.get_element_type().get_type_name() == "f16"
    }
    out: list[WeightLoss] = []
    for op in model.get_ops():
        if op.get_type_name() != "Constant" or op.get_element_type().get_type_name() != "f32":
            continue
        if (name := op.get_friendly_name()) in small:
            readers = {one.get_type_name() for one in _readers(op)}
            value = np.array(op.get_data())
            kinds = {"masks": lambda o=op: _ends_in_softmax(o), "bounds": readers <= BOUNDS, "added": readers <= ADDED}
            if value.size and losses_of(name, value, **kinds):
                out += losses_of(_source_name(source, name, value), value, **kinds)
    return out


def _source_name(source: Model, name: str, value: np.ndarray) -> str:
    """What the ONNX model calls a constant that OpenVINO has transposed or renamed: by its size and largest number."""
    weights = [t for t in source.proto.graph.initializer if t.data_type == TensorProto.FLOAT and count(t) == value.size]
    if any(t.name == name for t in weights):
        return name
    peak = np.abs(value).max()
    return next((t.name for t in weights if np.abs(source.array(t)).max() == peak), name)


def _readers(op: Any) -> list[Any]:
    return [port.get_node() for output in op.outputs() for port in output.get_target_inputs()]


def _ends_in_softmax(op: Any) -> bool:
    todo, seen = [op], {op.get_name()}
    while todo:
        readers = _readers(todo.pop())
        if not readers:
            return False
        for one in readers:
            if one.get_type_name() in SOFTENING or one.get_name() in seen:
                continue
            if one.get_type_name() not in THROUGH:
                return False
            seen.add(one.get_name())
            todo.append(one)
    return True
