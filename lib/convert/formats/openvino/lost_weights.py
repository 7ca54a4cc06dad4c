"""Finds what OpenVINO's compression of weights to float16 loses: compares constants in memory with the saved file."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from lib.convert.formats.onnx.lost_weights import WeightLoss, losses_of
from lib.onnx_model.open import Model, count

COMPRESSED = "_compressed"  # suffix that OpenVINO appends to the names of float16 constants in the file
THROUGH = set(  # operators that pass a mask on to its softmax
    """Add Subtract Multiply Select Convert Reshape Unsqueeze Squeeze Broadcast Transpose Concat Gather Slice
    StridedSlice Tile Minimum Maximum""".split()  # noqa: SIM905
)
SOFTENING = {"Softmax", "ScaledDotProductAttention"}
BOUNDS = {"Minimum", "Maximum", "Less", "Greater", "LessEqual", "GreaterEqual", "Equal"}
ADDED = {"Add", "Subtract"} | BOUNDS


def find_losses(model: Any, saved: Any, source: Model) -> list[WeightLoss]:
    """Returns the losses of all constants that were saved as float16.

    ``model``: the float32 OpenVINO model converted from ``source``; ``saved``: the model read back from the file.
    """
    float16_names = {
        op.get_friendly_name().removesuffix(COMPRESSED)
        for op in saved.get_ops()
        if op.get_type_name() == "Constant" and op.get_element_type().get_type_name() == "f16"
    }
    losses: list[WeightLoss] = []
    for op in model.get_ops():
        if op.get_type_name() != "Constant" or op.get_element_type().get_type_name() != "f32":
            continue
        if (name := op.get_friendly_name()) in float16_names:
            readers = {reader.get_type_name() for reader in _readers(op)}
            value = np.array(op.get_data())
            options = {"masks": lambda o=op: _ends_in_softmax(o), "bounds": readers <= BOUNDS, "added": readers <= ADDED}
            if value.size and losses_of(name, value, **options):
                losses += losses_of(_source_name(source, name, value), value, **options)
    return losses


def _source_name(source: Model, name: str, value: np.ndarray) -> str:
    """Returns the ONNX name of a constant that OpenVINO transposed or renamed, matched by size and peak magnitude."""
    weights = [t for t in source.proto.graph.initializer if t.data_type == TensorProto.FLOAT and count(t) == value.size]
    if any(t.name == name for t in weights):
        return name
    peak = np.abs(value).max()
    return next((t.name for t in weights if np.abs(source.array(t)).max() == peak), name)


def _readers(op: Any) -> list[Any]:
    return [port.get_node() for output in op.outputs() for port in output.get_target_inputs()]


def _ends_in_softmax(op: Any) -> bool:
    """Returns whether every path from ``op`` ends in a softmax."""
    pending, seen = [op], {op.get_name()}
    while pending:
        readers = _readers(pending.pop())
        if not readers:
            return False
        for reader in readers:
            if reader.get_type_name() in SOFTENING or reader.get_name() in seen:
                continue
            if reader.get_type_name() not in THROUGH:
                return False
            seen.add(reader.get_name())
            pending.append(reader)
    return True
