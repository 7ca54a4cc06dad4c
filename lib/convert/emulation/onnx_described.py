"""Reads the quantisation of an ONNX file: integer weights with scales and zero points, and quantised tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from lib.convert.emulation import onnx_graph

INTEGERS = ("MatMulInteger", "ConvInteger")


@dataclass(slots=True)
class Weight:
    """``name``: as in the file without its suffix; ``makes``: outputs of its operators, to match it with the source."""

    name: str
    integers: np.ndarray  # integers
    scale: np.ndarray  # float32, one or one a channel
    zero: np.ndarray
    axis: int | None
    makes: list[str] = field(default_factory=list)

    def axes(self) -> list[int | None]:
        """Axes that the scales may belong to: the stated one, or all of a matching size."""
        if self.scale.size == 1:
            return [None]
        fits = [k for k, n in enumerate(self.integers.shape) if n == self.scale.size]
        return [self.axis % self.integers.ndim] if self.axis is not None else fits  # type: ignore[return-value]


@dataclass(slots=True)
class QuantizedTensors:
    weights: list[Weight] = field(default_factory=list)
    static: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # tensor: scale, zero point
    dynamic: set[str] = field(default_factory=set)  # tensors whose range is taken while it runs
    floats: dict[str, np.ndarray] = field(default_factory=dict)  # weights that stay as they are
    made: set[tuple[str, str]] = field(default_factory=set)  # operator and the tensor that it makes
    complaints: list[str] = field(default_factory=list)


def read_quantization(file: ModelProto) -> QuantizedTensors:
    out = QuantizedTensors()
    held: dict[str, np.ndarray] = {}
    nodes: list[NodeProto] = []
    for graph in onnx_graph.graphs(file.graph):
        held |= {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        for node in graph.node:
            nodes.append(node)
            if node.op_type == "Constant":
                held |= {
                    name: numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value" for name in node.output
                }
    takers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    out.made = {(node.op_type, name) for node in nodes for name in node.output}
    makers = {name: node for node in nodes for name in node.output}
    out.floats = {name: value for name, value in held.items() if value.dtype == np.float32}
    for node in nodes:
        if node.op_type == "DequantizeLinear":
            _stored(node, held, takers, makers, out)
        elif node.op_type == "QuantizeLinear":
            _activation(node, held, takers, out)
        elif node.op_type == "DynamicQuantizeLinear":
            out.dynamic.add(node.input[0])
        elif node.op_type in INTEGERS and node.input[1] in held:
            _product(node, held, takers, makers, out)
        elif node.op_type == "DynamicQuantizeLSTM":
            out.dynamic.add(node.input[0])
            for k, scale, zero in ((1, 8, 9), (2, 10, 11)):
                if all(node.input[j] in held for j in (k, scale, zero)):
                    out.weights.append(_weight(node.input[k], *(held[node.input[j]] for j in (k, scale, zero)), None))
    return out


def _weight(name: str, integers: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int | None) -> Weight:
    zero = np.zeros(1, integers.dtype) if zero is None else zero
    return Weight(name.removesuffix("_quantized"), integers, scale, zero, axis)


def _zero(node: NodeProto, held: dict[str, np.ndarray], place: int = 2) -> np.ndarray | None:
    return held.get(node.input[place]) if len(node.input) > place and node.input[place] else np.zeros((), np.uint8)


def _stored(
    node: NodeProto,
    held: dict[str, np.ndarray],
    takers: dict[str, list[NodeProto]],
    makers: dict[str, NodeProto],
    out: QuantizedTensors,
) -> None:
    """Integer weights in the file that are dequantised, directly or after a Gather."""
    gather = makers.get(node.input[0])
    name = gather.input[0] if gather is not None and gather.op_type == "Gather" else node.input[0]
    if name not in held or node.input[1] not in held or held[name].dtype.kind not in "iu":
        return
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if any(a.name == "block_size" and a.i for a in node.attribute):
        return
    scale = held[node.input[1]]
    if name != node.input[0] and scale.size > 1:
        return
    found = _weight(name, held[name], scale, _zero(node, held), axis)
    found.makes = [taker.output[0] for taker in takers.get(node.output[0], [])]
    for _ in range(2):  # the pair behind keeps a graph output's name
        after = [t for name in found.makes for t in takers.get(name, [])]
        pair = [t for t in after if t.op_type in ("QuantizeLinear", "DequantizeLinear")]
        found.makes += [t.output[0] for t in pair if t.output[0] not in found.makes]
    if found.integers.ndim and found.zero.size in (1, scale.size):
        out.weights.append(found)


def _activation(
    node: NodeProto, held: dict[str, np.ndarray], takers: dict[str, list[NodeProto]], out: QuantizedTensors
) -> None:
    scale, zero = held.get(node.input[1]), _zero(node, held)
    if scale is None or zero is None or scale.size != 1:
        return
    backs = takers.get(node.output[0], [])
    # an output of the graph keeps its name behind the pair, everything else in front of it
    out.static |= dict.fromkeys((node.input[0], *(b.output[0] for b in backs)), (scale, zero))
    for back in backs:
        other = held.get(back.input[1]) if back.op_type == "DequantizeLinear" else None
        if other is None:
            continue
        if not np.allclose(other, scale, rtol=1e-6):
            much = f"{float(scale):.4g} and dequantised with {float(other.reshape(-1)[0]):.4g}"
            out.complaints.append(f"{node.input[0][:100]!r} is quantised with the scale {much}.")
        elif (zero_back := _zero(back, held)) is not None and not np.array_equal(zero_back.reshape(-1), zero.reshape(-1)):
            much = f"{int(zero.reshape(-1)[0])} and dequantised with {int(zero_back.reshape(-1)[0])}"
            out.complaints.append(f"{node.input[0][:100]!r} is quantised with the zero point {much}.")


def _product(
    node: NodeProto,
    held: dict[str, np.ndarray],
    takers: dict[str, list[NodeProto]],
    makers: dict[str, NodeProto],
    out: QuantizedTensors,
) -> None:
    """MatMulInteger or ConvInteger: its scale follows it, as a product of two scales."""
    makes, todo, scale = [], [node.output[0]], None
    zero = _zero(node, held, 3)
    width = 1 if zero is None else zero.size  # an activation that lies in the file has a scale there, too
    for _ in range(4):  # Cast, Mul, Add
        after = [t for name in todo for t in takers.get(name, []) if t.op_type in ("Cast", "Mul", "Add")]
        for mul in (t for t in after if t.op_type == "Mul" and scale is None):
            for name in mul.input:
                product = makers.get(name)
                names = [name, *(product.input if product is not None and product.op_type == "Mul" else ())]
                fits = [n for n in names if n in held and held[n].size == width]
                own = [n for n in fits if n.startswith(node.input[1].removesuffix("_quantized"))]
                scale = next((held[n] for n in own + fits), scale)
        todo = [t.output[0] for t in after]
        makes += todo
    if scale is not None and scale.size == width:
        axis = None if scale.size == 1 else 0 if node.op_type == "ConvInteger" else held[node.input[1]].ndim - 1
        found = _weight(node.input[1], held[node.input[1]], scale, zero, axis)
        found.makes = makes
        out.weights.append(found)
