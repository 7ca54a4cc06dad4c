"""Hints on the preprocessing of pictures in an ONNX model: its metadata, and its first arithmetic operators.

A model that begins by dividing by 255 wants pixels of 0 to 255; one that subtracts 0.485 wants 0 to 1. The answers are
``hints`` of ``lib/model_inputs``. They are guesses: a wrong one costs a better normalization, never a proof.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from lib.model_inputs import dimensions
from lib.model_inputs.hints import from_metadata
from lib.model_inputs.signature import Signature

MOVES = ("Cast", "Transpose", "Identity", "Resize", "Pad", "Slice", "Squeeze", "Unsqueeze", "Reshape")
MAX_STEPS, MAX_VALUES = 16, 4096  # of a constant: a scalar, or one a channel


def of(model: ModelProto, signature: Signature) -> dict[str, Any]:
    """``labels`` and ``input`` of the metadata, and ``normalization`` where the first operators tell."""
    found = from_metadata({p.key: p.value for p in model.metadata_props})
    picture = next((v for v in signature.inputs if dimensions.picture_layout(v)), None)
    if picture is not None and (preset := normalization(model, picture.name)) is not None:
        found["normalization"] = preset
    return found


def normalization(model: ModelProto, name: str) -> str | None:
    """0..255 or 0..1 where the model itself scales and shifts what comes in by ``name``; None where it does not."""
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for value in node.input:
            readers[value].append(node)
    constants = _Constants(model)
    scale, shift, changed = 1.0, 0.0, False
    for _ in range(MAX_STEPS):
        nodes = readers.get(name, [])
        if len(nodes) != 1 or not nodes[0].output:
            break
        node = nodes[0]
        step = (1.0, 0.0) if node.op_type in MOVES and node.input[0] == name else _affine(node, name, constants)
        if step is None:
            break
        changed |= node.op_type not in MOVES
        scale, shift = scale * step[0], shift * step[0] + step[1]
        name = node.output[0]
    if not changed or scale <= 0:
        return None
    if 0.8 / 255 <= scale <= 10 / 255 or (scale == 1 and shift < -50):  # divided, or a mean of pixels is subtracted
        return "0..255"
    return "0..1" if 1.5 <= scale <= 10 and shift <= -0.5 else None


class _Constants:
    def __init__(self, model: ModelProto) -> None:
        self._held = {t.name: t for t in model.graph.initializer}
        for node in model.graph.node:
            for attribute in node.attribute if node.op_type == "Constant" else ():
                if attribute.name == "value":
                    self._held[node.output[0]] = attribute.t

    def mean(self, name: str) -> np.ndarray | None:
        """float64 mean of a small finite constant; None for other values and for weights in files of their own."""
        tensor = self._held.get(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL or int(np.prod(tensor.dims)) > MAX_VALUES:
            return None
        try:
            values = numpy_helper.to_array(tensor).astype(np.float64)
        except (TypeError, ValueError):
            return None
        return values.mean() if values.size and np.isfinite(values).all() else None


def _affine(node: NodeProto, name: str, constants: _Constants) -> tuple[float, float] | None:
    """(scale, shift) of an operator that only multiplies and adds constants, averaged over the channels."""
    if node.op_type == "BatchNormalization" and node.input[0] == name:
        scale, bias, mean, variance = (constants.mean(n) for n in node.input[1:5])
        if any(v is None for v in (scale, bias, mean, variance)) or variance < 0:
            return None
        gain = scale / np.sqrt(variance + 1e-5)
        return gain, bias - gain * mean
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.input) != 2:
        return None
    first = node.input[0] == name
    other = constants.mean(node.input[1 if first else 0])
    if other is None or (node.op_type in ("Sub", "Div") and not first):
        return None
    if node.op_type == "Div":
        return (1 / other, 0.0) if other else None
    return {"Add": (1.0, other), "Sub": (1.0, -other), "Mul": (other, 0.0)}[node.op_type]
