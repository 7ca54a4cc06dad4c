"""Whether the weights of a float16 ONNX file are its source's, rounded. Weights without a match are skipped."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from lib.convert.emulation import onnx_graph
from lib.convert.emulation.draws import Emulation
from lib.convert.emulation.numbers import HIGHEST, SMALLEST_FLOAT16

FOLLOWED = 2  # nodes behind a weight that must be the same on both sides
SILENT = {"Cast", "Identity", "QuantizeLinear", "DequantizeLinear"}


def compare_float16(source: ModelProto, file: ModelProto, found: Emulation) -> None:
    """Fills ``weights``, ``compared`` and ``weight_count`` of ``found``."""
    theirs = _constants(file)
    about = _consumers_by_name(source), _consumers_by_name(file)
    for name, tensor in _constants(source).items():
        if tensor.data_type != TensorProto.FLOAT or not tensor.dims:
            continue
        found.weight_count += 1
        other = theirs.get(name)
        kinds = (TensorProto.FLOAT16, TensorProto.FLOAT)
        if other is None or list(other.dims) != list(tensor.dims) or other.data_type not in kinds:
            continue
        if about[0].get(name) != about[1].get(name):
            continue  # what follows was folded into it, perhaps
        found.compared += 1
        given, made = (numpy_helper.to_array(t).astype(np.float64) for t in (tensor, other))
        if wrong := _difference(given, made, other.data_type == TensorProto.FLOAT16):
            found.weights.append(f"The weight {name[:100]!r} {wrong}")


def _difference(given: np.ndarray, made: np.ndarray, half: bool) -> str:
    """How far ``made`` is from ``given`` rounded, in words; "" if it is equal."""
    expected = np.clip(given, -HIGHEST, HIGHEST) if half else given
    step = np.maximum(np.abs(expected) * (2.0**-11 if half else 2.0**-22), SMALLEST_FLOAT16 if half else 0.0)
    with np.errstate(invalid="ignore"):
        far = np.abs(made - expected)
    wrong = ~(far <= step * 1.001) & ~(np.isnan(given) & np.isnan(made)) & ~(np.isinf(given) & (made == given))
    if not wrong.any():
        return ""
    most = float(np.nan_to_num(far, nan=np.inf)[wrong].max())
    return f"is not the source's weight rounded: {int(wrong.sum())} of {wrong.size} values, by up to {most:.3g}."


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    """Initializers and Constant nodes of the graph and its subgraphs, by name."""
    found: dict[str, TensorProto] = {}
    for graph in onnx_graph.graphs(model.graph):
        found |= {t.name: t for t in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return found


def _consumers_by_name(model: ModelProto) -> dict[str, tuple]:
    """For each tensor its consumers and theirs, without silent operators."""
    takers: dict[str, list] = {}
    for graph in onnx_graph.graphs(model.graph):
        for node in graph.node:
            for k, name in enumerate(node.input):
                takers.setdefault(name, []).append((node, k))

    def consumers(name: str, depth: int) -> tuple:
        out = []
        for node, k in takers.get(name, ()):
            if node.op_type in SILENT:
                out += [t for made in node.output for t in consumers(made, depth)]
            else:
                after = tuple(consumers(made, depth - 1) for made in node.output) if depth > 1 else ()
                out.append((node.op_type, k if depth == FOLLOWED else 0, after))
        return tuple(sorted(out, key=str))

    return {name: consumers(name, FOLLOWED) for name in _constants(model)}
