"""Checks that the weights of a float16 ONNX file are its source's, rounded. Skips weights without a match."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from lib.convert.emulation import onnx_graph
from lib.convert.emulation.draws import Emulation
from lib.convert.emulation.numbers import HIGHEST, SMALLEST_FLOAT16

FOLLOWED = 2  # levels of consumers that must agree between source and file for a weight to be compared
SILENT = {"Cast", "Identity", "QuantizeLinear", "DequantizeLinear"}


def compare_float16(source: ModelProto, file: ModelProto, found: Emulation) -> None:
    """Compares by name, and fills ``weights``, ``compared`` and ``weight_count`` of ``found``."""
    file_constants = _constants(file)
    consumers = _consumers_by_name(source), _consumers_by_name(file)
    for name, tensor in _constants(source).items():
        if tensor.data_type != TensorProto.FLOAT or not tensor.dims:
            continue
        found.weight_count += 1
        counterpart = file_constants.get(name)
        kinds = (TensorProto.FLOAT16, TensorProto.FLOAT)
        if counterpart is None or list(counterpart.dims) != list(tensor.dims) or counterpart.data_type not in kinds:
            continue
        if consumers[0].get(name) != consumers[1].get(name):
            continue  # a following operator may have been folded into it
        found.compared += 1
        expected, actual = (numpy_helper.to_array(t).astype(np.float64) for t in (tensor, counterpart))
        if wrong := _difference(expected, actual, counterpart.data_type == TensorProto.FLOAT16):
            found.weights.append(f"The weight {name[:100]!r} {wrong}")


def _difference(given: np.ndarray, made: np.ndarray, half: bool) -> str:
    """Describes how far ``made`` is from ``given`` rounded; "" if they agree."""
    expected = np.clip(given, -HIGHEST, HIGHEST) if half else given
    step = np.maximum(np.abs(expected) * (2.0**-11 if half else 2.0**-22), SMALLEST_FLOAT16 if half else 0.0)
    with np.errstate(invalid="ignore"):
        distance = np.abs(made - expected)
    wrong = ~(distance <= step * 1.001) & ~(np.isnan(given) & np.isnan(made)) & ~(np.isinf(given) & (made == given))
    if not wrong.any():
        return ""
    largest = float(np.nan_to_num(distance, nan=np.inf)[wrong].max())
    return f"is not the source's weight rounded: {int(wrong.sum())} of {wrong.size} values, by up to {largest:.3g}."


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    """Returns initializers and Constant nodes of the graph and its subgraphs, by name."""
    constants: dict[str, TensorProto] = {}
    for graph in onnx_graph.graphs(model.graph):
        constants |= {t.name: t for t in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return constants


def _consumers_by_name(model: ModelProto) -> dict[str, tuple]:
    """Returns for each constant its consumers and their consumers, looking through ``SILENT`` operators."""
    takers: dict[str, list] = {}
    for graph in onnx_graph.graphs(model.graph):
        for node in graph.node:
            for k, name in enumerate(node.input):
                takers.setdefault(name, []).append((node, k))

    def consumers(name: str, depth: int) -> tuple:
        out = []
        for node, k in takers.get(name, ()):
            if node.op_type in SILENT:
                out += [t for output_name in node.output for t in consumers(output_name, depth)]
            else:
                after = tuple(consumers(output_name, depth - 1) for output_name in node.output) if depth > 1 else ()
                out.append((node.op_type, k if depth == FOLLOWED else 0, after))
        return tuple(sorted(out, key=str))

    return {name: consumers(name, FOLLOWED) for name in _constants(model)}
