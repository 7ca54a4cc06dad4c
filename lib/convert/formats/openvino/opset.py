"""Works around operators that OpenVINO's ONNX frontend misreads at some opsets, by converting to another opset."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, NodeProto

from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.convert.formats.onnx.opset import convert as opset
from lib.errors import JobFailed
from lib.onnx_model.functions import all_nodes

OLDEST = 7
# In opsets 11 and 12 Softmax covers all axes from ``axis`` on; OpenVINO uses only ``axis`` itself.
SOFTMAX, SOFTMAX_FROM, SOFTMAX_MENDED = "Softmax", 11, 13
# In opsets 13 to 17 their axes are an attribute; OpenVINO expects an input, finds none and reduces over all axes.
REDUCTIONS, REDUCTIONS_FROM, REDUCTIONS_MENDED = frozenset({"ReduceL1", "ReduceLogSum", "ReduceLogSumExp"}), 13, 18


def readable(source: Path, proto: ModelProto) -> tuple[ModelProto | None, list[str]]:
    """Returns the model of the artifact ``source`` in a form that OpenVINO reads correctly, and messages.

    The model is None if the file can be used as it is. ``proto`` is the same model without its weights. Raises
    InvalidFile for a bad source.
    """
    if not proto.functions and onnx_files.opset(proto) >= OLDEST and not _better(proto):
        return None, []
    model = onnx_files.tidied(source)
    target = _better(model)
    if not target:
        return model, []
    current = onnx_files.opset(model)
    try:
        model = opset.convert(model, target)
    except JobFailed:  # hand over the unconverted model: the proof will show what OpenVINO makes of it
        return onnx_files.tidied(source), []
    return model, [f"Converted from opset {current} to {target} first: OpenVINO misreads an operator of the older one."]


def _better(model: ModelProto) -> int:
    """Returns the opset to convert to; 0 if no conversion is needed."""
    current = onnx_files.opset(model)
    nodes = [node for node in all_nodes(model.graph.node) if node.domain in ("", "ai.onnx")]
    reduces = any(node.op_type in REDUCTIONS for node in nodes)
    if SOFTMAX_FROM <= current < SOFTMAX_MENDED and _over_several(model, [n for n in nodes if n.op_type == SOFTMAX]):
        return REDUCTIONS_MENDED if reduces else SOFTMAX_MENDED
    return REDUCTIONS_MENDED if reduces and REDUCTIONS_FROM <= current < REDUCTIONS_MENDED else 0


def _over_several(model: ModelProto, nodes: list[NodeProto]) -> bool:
    """Returns whether any of these Softmax nodes may cover more than one axis."""
    axes = [(n.input[0], next((a.i for a in n.attribute if a.name == "axis"), 1)) for n in nodes]
    if all(axis == -1 for _, axis in axes):
        return False
    types = opset.types_of(onnx_tidy.light(model))
    shapes = {n: types[n].tensor_type.shape for n, _ in axes if n in types and types[n].tensor_type.HasField("shape")}
    return any(axis != -1 and not (name in shapes and axis == len(shapes[name].dim) - 1) for name, axis in axes)
