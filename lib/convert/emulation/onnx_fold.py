"""Folds batch norms into the convolutions before them, as int8 tools do before they round."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

FOLDED = "__folded"


def fold(model: ModelProto) -> None:
    """Folds in place, in the main graph. The convolution then outputs the norm's tensor; its weight is ``…__folded``."""
    graph = model.graph
    values_by_name = constants(model)
    takers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    outputs = {v.name for v in graph.output}
    folded_norms = []
    for conv in graph.node:
        after = takers.get(conv.output[0], []) if conv.op_type == "Conv" else []
        norm = after[0] if len(after) == 1 and after[0].op_type == "BatchNormalization" else None
        if norm is None or norm.input[0] != conv.output[0] or conv.output[0] in outputs or len(norm.output) > 1:
            continue
        numbers = [values_by_name.get(name) for name in (conv.input[1], *norm.input[1:5])]
        bias = values_by_name.get(conv.input[2]) if len(conv.input) > 2 and conv.input[2] else None
        if any(n is None or n.dtype != np.float32 for n in numbers) or (
            len(conv.input) > 2 and conv.input[2] and bias is None
        ):
            continue
        weight, scale, shift, mean, variance = (n.astype(np.float64) for n in numbers)
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        shift = shift - mean * factor + (0.0 if bias is None else bias * factor)
        names = conv.input[1] + FOLDED, f"{conv.output[0]}{FOLDED}_bias"
        for name, value in zip(names, (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1)), shift), strict=True):
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        data = conv.input[0]
        del conv.input[:]
        conv.input.extend([data, *names])
        conv.output[0] = norm.output[0]
        folded_norms.append(norm)
    for norm in folded_norms:
        graph.node.remove(norm)


def constants(model: ModelProto) -> dict[str, np.ndarray]:
    """Returns the main graph's initializers and Constant nodes by name, followed through Identity nodes."""
    values_by_name = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if not _is_external(t)}
    for node in model.graph.node:
        if node.op_type == "Constant":
            values_by_name.update((node.output[0], numpy_helper.to_array(a.t)) for a in node.attribute if a.name == "value")
        elif node.op_type == "Identity" and node.input[0] in values_by_name:
            values_by_name[node.output[0]] = values_by_name[node.input[0]]
    return values_by_name


def constants_to_initializers(model: ModelProto) -> None:
    """Turns Constant nodes of the main graph into initializers, in place."""
    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "Constant" and n.attribute and n.attribute[0].name == "value"]:
        tensor = TensorProto()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)


def _is_external(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL


def node(kind: str, inputs: list[str], output: str, **how: object) -> NodeProto:
    return helper.make_node(kind, inputs, [output], **how)
