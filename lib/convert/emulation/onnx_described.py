"""Reads the quantisation of an ONNX file: integer weights with their scales and zero points, and quantised activations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from lib.convert.emulation import onnx_graph

INTEGERS = ("MatMulInteger", "ConvInteger")


@dataclass(slots=True)
class Weight:
    """A quantised weight. ``name``: its name in the file, without the tool's suffix.

    ``makes``: output names of the operators that use it, by which it is matched with the source.
    """

    name: str
    integers: np.ndarray  # int8 or uint8, as stored
    scale: np.ndarray  # float32, one per tensor or one per channel
    zero: np.ndarray
    axis: int | None
    makes: list[str] = field(default_factory=list)

    def axes(self) -> list[int | None]:
        """Returns the axes that the scales may apply to: the stated one, else all of its size; [None] for one scale."""
        if self.scale.size == 1:
            return [None]
        fits = [k for k, n in enumerate(self.integers.shape) if n == self.scale.size]
        return [self.axis % self.integers.ndim] if self.axis is not None else fits  # type: ignore[return-value]


@dataclass(slots=True)
class QuantizedTensors:
    """What a file quantises, by tensor name, and ``complaints`` about inconsistent scales or zero points."""

    weights: list[Weight] = field(default_factory=list)
    static: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # tensor: scale, zero point
    dynamic: set[str] = field(default_factory=set)  # tensors whose range is measured at run time
    floats: dict[str, np.ndarray] = field(default_factory=dict)  # weights that stay float32
    made: set[tuple[str, str]] = field(default_factory=set)  # (operator type, output name) of every node
    complaints: list[str] = field(default_factory=list)


def read_quantization(file: ModelProto) -> QuantizedTensors:
    """Collects the quantised weights and activations of ``file``, including those in its subgraphs."""
    out = QuantizedTensors()
    constants: dict[str, np.ndarray] = {}
    nodes: list[NodeProto] = []
    for graph in onnx_graph.graphs(file.graph):
        constants |= {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        for node in graph.node:
            nodes.append(node)
            if node.op_type == "Constant":
                constants |= {
                    name: numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value" for name in node.output
                }
    takers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    out.made = {(node.op_type, name) for node in nodes for name in node.output}
    makers = {name: node for node in nodes for name in node.output}
    out.floats = {name: value for name, value in constants.items() if value.dtype == np.float32}
    for node in nodes:
        if node.op_type == "DequantizeLinear":
            _stored(node, constants, takers, makers, out)
        elif node.op_type == "QuantizeLinear":
            _activation(node, constants, takers, out)
        elif node.op_type == "DynamicQuantizeLinear":
            out.dynamic.add(node.input[0])
        elif node.op_type in INTEGERS and node.input[1] in constants:
            _product(node, constants, takers, makers, out)
        elif node.op_type == "DynamicQuantizeLSTM":
            out.dynamic.add(node.input[0])
            for k, scale, zero in ((1, 8, 9), (2, 10, 11)):
                if all(node.input[j] in constants for j in (k, scale, zero)):
                    out.weights.append(_weight(node.input[k], *(constants[node.input[j]] for j in (k, scale, zero)), None))
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
    """Adds a stored integer weight that ``node`` dequantises, directly or after a Gather."""
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
    weight = _weight(name, held[name], scale, _zero(node, held), axis)
    weight.makes = [taker.output[0] for taker in takers.get(node.output[0], [])]
    for _ in range(2):  # the QuantizeLinear/DequantizeLinear pair that follows keeps a graph output's name
        after = [t for name in weight.makes for t in takers.get(name, [])]
        pair = [t for t in after if t.op_type in ("QuantizeLinear", "DequantizeLinear")]
        weight.makes += [t.output[0] for t in pair if t.output[0] not in weight.makes]
    if weight.integers.ndim and weight.zero.size in (1, scale.size):
        out.weights.append(weight)


def _activation(
    node: NodeProto, held: dict[str, np.ndarray], takers: dict[str, list[NodeProto]], out: QuantizedTensors
) -> None:
    scale, zero = held.get(node.input[1]), _zero(node, held)
    if scale is None or zero is None or scale.size != 1:
        return
    backs = takers.get(node.output[0], [])
    # graph outputs keep their name after the QuantizeLinear/DequantizeLinear pair, other tensors before it
    out.static |= dict.fromkeys((node.input[0], *(b.output[0] for b in backs)), (scale, zero))
    for back in backs:
        back_scale = held.get(back.input[1]) if back.op_type == "DequantizeLinear" else None
        if back_scale is None:
            continue
        if not np.allclose(back_scale, scale, rtol=1e-6):
            numbers = f"{float(scale):.4g} and dequantised with {float(back_scale.reshape(-1)[0]):.4g}"
            out.complaints.append(f"{node.input[0][:100]!r} is quantised with the scale {numbers}.")
        elif (zero_back := _zero(back, held)) is not None and not np.array_equal(zero_back.reshape(-1), zero.reshape(-1)):
            numbers = f"{int(zero.reshape(-1)[0])} and dequantised with {int(zero_back.reshape(-1)[0])}"
            out.complaints.append(f"{node.input[0][:100]!r} is quantised with the zero point {numbers}.")


def _product(
    node: NodeProto,
    held: dict[str, np.ndarray],
    takers: dict[str, list[NodeProto]],
    makers: dict[str, NodeProto],
    out: QuantizedTensors,
) -> None:
    """Adds the weight of a MatMulInteger or ConvInteger, whose scale follows as a product with the activation's scale."""
    makes, todo, scale = [], [node.output[0]], None
    zero = _zero(node, held, 3)
    width = 1 if zero is None else zero.size  # a constant activation has its scale in the file, too
    for _ in range(4):  # Cast, Mul, Add
        after = [t for name in todo for t in takers.get(name, []) if t.op_type in ("Cast", "Mul", "Add")]
        for mul in (t for t in after if t.op_type == "Mul" and scale is None):
            for name in mul.input:
                product = makers.get(name)
                names = [name, *(product.input if product is not None and product.op_type == "Mul" else ())]
                fits = [n for n in names if n in held and held[n].size == width]
                by_name = [n for n in fits if n.startswith(node.input[1].removesuffix("_quantized"))]
                scale = next((held[n] for n in by_name + fits), scale)
        todo = [t.output[0] for t in after]
        makes += todo
    if scale is not None and scale.size == width:
        axis = None if scale.size == 1 else 0 if node.op_type == "ConvInteger" else held[node.input[1]].ndim - 1
        weight = _weight(node.input[1], held[node.input[1]], scale, zero, axis)
        weight.makes = makes
        out.weights.append(weight)
