"""Errors planted into converted ONNX files, as a converter's bug would. Says nothing about how they are judged.

A plant takes a model, the number of a layer and the user's samples, and gives the model with one error in that
layer, or None where there is nothing of its kind. Quantised weights are changed in their integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

Samples = dict[str, np.ndarray]
Plant = Callable[[ModelProto, int, Samples], "ModelProto | None"]
# operators with a weight, and which of their inputs it is
WEIGHT = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "LSTM": 1, "ConvInteger": 1, "MatMulInteger": 1}
WEIGHT |= {"QLinearConv": 3, "QLinearMatMul": 3, "DynamicQuantizeMatMul": 1, "MatMulIntegerToFloat": 1}
BIAS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}


class Layer:
    """A node with a constant weight; ``name`` is the initializer's, before it was dequantised or cast."""

    def __init__(self, graph: onnx.GraphProto, node: onnx.NodeProto, name: str, through: onnx.NodeProto | None) -> None:
        self.graph, self.node, self.name, self.through = graph, node, name, through

    @property
    def output_axis(self) -> int:
        """Of the weight: where its output channels are."""
        if self.node.op_type == "Gemm":
            turned = next((a.i for a in self.node.attribute if a.name == "transB"), 0)
            return 0 if turned else 1
        if "MatMul" in self.node.op_type:
            return held(self.graph)[self.name].dims.__len__() - 1
        return 1 if self.node.op_type in ("ConvTranspose", "LSTM") else 0


def held(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    return {t.name: t for t in graph.initializer}


def layers(model: ModelProto) -> list[Layer]:
    """In the graph's order; a weight is a constant of two dimensions or more."""
    graph, out = model.graph, []
    made = {name: node for node in graph.node for name in node.output}
    known = held(graph)
    for node in graph.node:
        at = WEIGHT.get(node.op_type)
        if at is None or len(node.input) <= at:
            continue
        for k in (at, 0) if "MatMul" in node.op_type else (at,):
            name, through = node.input[k], None
            while name not in known and name in made and made[name].op_type in ("DequantizeLinear", "Cast", "Transpose"):
                through = made[name] if made[name].op_type == "DequantizeLinear" else through
                name = made[name].input[0]
            if name in known and len(known[name].dims) >= 2:
                out.append(Layer(graph, node, name, through))
                break
    return out


def change(graph: onnx.GraphProto, name: str, how: Callable[[np.ndarray], np.ndarray]) -> None:
    tensor = held(graph)[name]
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(how(value.copy()).astype(value.dtype), name))


def zero_of(layer: Layer) -> int:
    """The integer that stands for 0 in a quantised weight; 0 for floats."""
    known = held(layer.graph)
    if layer.through is not None:
        points = layer.through.input[2:3]
    elif "Integer" in layer.node.op_type:
        points = layer.node.input[3:4]
    else:
        points = [layer.name.replace("_quantized", "_zero_point")]
    if points and points[0] in known and known[layer.name].data_type in (TensorProto.UINT8, TensorProto.INT8):
        return int(numpy_helper.to_array(known[points[0]]).reshape(-1)[0])
    return 0


def sign(model: ModelProto, at: int, samples: Samples) -> ModelProto | None:
    """The sign of a layer's largest weight."""
    layer = layers(model)[at]
    zero = zero_of(layer)

    def flipped(value: np.ndarray) -> np.ndarray:
        flat = value.reshape(-1)
        where = int(np.abs(flat.astype(np.float64) - zero).argmax())
        flat[where] = _within(2.0 * zero - flat[where], value.dtype)
        return value

    change(model.graph, layer.name, flipped)
    return model


def scale(model: ModelProto, at: int, samples: Samples) -> ModelProto | None:
    """A layer's weights, three times as large; of a quantised layer its scale."""
    layer = layers(model)[at]
    known = held(model.graph)
    if layer.through is not None:
        change(model.graph, layer.through.input[1], lambda v: v * 3)
    elif known[layer.name].data_type in (TensorProto.UINT8, TensorProto.INT8):
        name = layer.name.replace("_quantized", "_scale")
        if name not in known:
            return None
        change(model.graph, name, lambda v: v * 3)
    else:
        change(model.graph, layer.name, lambda v: v * 3)
    return model


def channel(model: ModelProto, at: int, samples: Samples) -> ModelProto | None:
    """Two output channels of a layer's weight change places: the two that differ most in size."""
    layer = layers(model)[at]
    axis, zero = layer.output_axis, zero_of(layer)

    def swapped(value: np.ndarray) -> np.ndarray:
        first = np.moveaxis(value, axis, 0)
        size = np.abs(first.reshape(len(first), -1).astype(np.float64) - zero).sum(1)
        a, b = int(size.argmax()), int(size.argmin())
        first[[a, b]] = first[[b, a]]
        return value

    if held(model.graph)[layer.name].dims[axis] < 2:
        return None
    change(model.graph, layer.name, swapped)
    return model


def bias(model: ModelProto, at: int, samples: Samples) -> ModelProto | None:
    """A layer's bias is left out: its own, or what is added right after it."""
    layer = layers(model)[at]
    known, place = held(model.graph), BIAS.get(layer.node.op_type)
    names = list(layer.node.input[place : place + 1]) if place else []
    made = {name: node for node in model.graph.node for name in node.output}
    names += [n for node in _after(model.graph, layer.node, 4) if node.op_type == "Add" for n in node.input]
    for name in names:
        while name in made and made[name].op_type in ("DequantizeLinear", "Cast", "Reshape"):
            name = made[name].input[0]
        if name in known and known[name].data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32):
            if not numpy_helper.to_array(known[name]).any():
                return None
            change(model.graph, name, np.zeros_like)
            return model
    return None


def _after(graph: onnx.GraphProto, node: onnx.NodeProto, most: int) -> list[onnx.NodeProto]:
    """What comes after a node along single uses."""
    out: list[onnx.NodeProto] = []
    while len(out) < most:
        users = [n for n in graph.node if node.output[0] in n.input]
        if len(users) != 1:
            break
        node = users[0]
        out.append(node)
    return out


def zero_point(model: ModelProto, at: int, samples: Samples) -> ModelProto | None:
    """The zero point of the layer's input where that is calibrated, or of its weight, an eighth off where it is read."""
    layer = layers(model)[at]
    made = {name: node for node in model.graph.node for name in node.output}
    before = made.get(layer.node.input[0])
    read = [n for n in (before, layer.through) if n is not None and n.op_type == "DequantizeLinear"]
    places = [(node, 2) for node in read] + ([(layer.node, 3)] if "Integer" in layer.node.op_type else [])
    for node, place in places:
        name = node.input[place] if len(node.input) > place else ""
        tensor = held(model.graph).get(name)
        if tensor is not None and tensor.data_type in (TensorProto.UINT8, TensorProto.INT8):
            value = numpy_helper.to_array(tensor)
            # of this reader only: with the one that quantises moved along, nothing would be wrong
            wrong = _within(value.astype(np.int64) + np.where(value > 64, -32, 32), value.dtype).astype(value.dtype)
            model.graph.initializer.append(numpy_helper.from_array(wrong, "planted_zero_point"))
            node.input[place] = "planted_zero_point"
            return model
    return None


def normalized_twice(model: ModelProto, at: int, samples: Samples) -> ModelProto | None:
    """The first input is brought to mean 0 and deviation 1 again, as where file and preprocessing both do it."""
    if at:
        return None
    names = held(model.graph)
    given = next(v for v in model.graph.input if v.name not in names)
    kind = given.type.tensor_type.elem_type
    if kind not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        return None
    sample = np.asarray(samples[given.name] if given.name in samples else next(iter(samples.values())), np.float64)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for name, value in (("planted_mean", sample.mean()), ("planted_deviation", sample.std())):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
    for node in model.graph.node:
        for k, used in enumerate(node.input):
            if used == given.name:
                node.input[k] = "planted_again"
    model.graph.node.insert(0, helper.make_node("Div", ["planted_centred", "planted_deviation"], ["planted_again"]))
    model.graph.node.insert(0, helper.make_node("Sub", [given.name, "planted_mean"], ["planted_centred"]))
    return model


def _within(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.dtype(dtype).kind not in "iu":
        return value
    about = np.iinfo(dtype)
    return np.clip(value, about.min, about.max)


PLANTS: dict[str, Plant] = {
    "one weight's sign": sign,
    "one layer's scale": scale,
    "two channels swapped": channel,
    "one bias dropped": bias,
    "a wrong zero point": zero_point,
    "normalized twice": normalized_twice,
}


def planted(model: ModelProto, name: str, at: int, samples: Samples) -> ModelProto | None:
    """A copy with the error, or None."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return PLANTS[name](copy, at, samples) if at < len(layers(copy)) else None
