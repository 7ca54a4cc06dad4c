"""Weights of an ONNX graph's products: their sizes, and rounding that accounts for the mean of their inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from lib.convert.tools.quantise.rounding import Means, kept_mean

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Product:
    """A Conv, Gemm or MatMul with a constant weight that nothing else reads. ``axis``: its input's channel axis."""

    node: NodeProto
    weight: str
    axis: int


def sizes(model: ModelProto) -> dict[str, int]:
    """Returns the float32 bytes of every float weight, by name."""
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return {t.name: 4 * int(np.prod(t.dims, dtype=np.int64)) for t in model.graph.initializer if t.data_type in floats}


def held(node: NodeProto, sizes: dict[str, int]) -> int:
    """Returns the bytes of the node's weights."""
    return sum(sizes.get(name, 0) for name in dict.fromkeys(node.input))


def stacked(model: ModelProto) -> frozenset[str]:
    """Returns the names of MatMuls whose constant weight has more than two dimensions."""
    deep = {t.name for t in model.graph.initializer if len(t.dims) > 2}
    return frozenset(n.name for n in model.graph.node if n.op_type == "MatMul" and len(n.input) > 1 and n.input[1] in deep)


def products(model: ModelProto) -> list[Product]:
    """Returns the products of the main graph whose weights can be rounded."""
    constants = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    readers = Counter(name for node in model.graph.node for name in node.input)
    out = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2:
            continue
        weight = constants.get(node.input[1])
        if weight is None or readers[weight.name] > 1 or _number(node, "transA"):
            continue
        if len(weight.dims) >= 3 if node.op_type == "Conv" else len(weight.dims) == 2:
            out.append(Product(node, weight.name, 1 if node.op_type == "Conv" else -1))
    return out


def watcher(products: list[Product], means: Means) -> Callable[[Arrays], None]:
    """Returns a callback for ``onnx_runs.ranges`` that collects the channel means of the products' inputs."""

    def see(tensors: Arrays) -> None:
        for product in products:
            values = tensors.get(product.node.input[0])
            if values is not None and values.size and values.ndim >= 2:
                means.see(product.node.name, values, product.axis)

    return see


def rounded(
    model: ModelProto, products: list[Product], means: Means, levels: int, *, per_channel: bool
) -> dict[str, tuple[str, np.ndarray]]:
    """Returns node name -> (weight name, rounded weight), without nodes whose inputs were not seen."""
    constants = {t.name: t for t in model.graph.initializer}
    out = {}
    for product in products:
        mean = means.of(product.node.name)
        if mean is None:
            continue
        weight = numpy_helper.to_array(constants[product.weight])
        if product.node.op_type == "Conv":
            group = _number(product.node, "group") or 1
            if len(mean) != weight.shape[1] * group or len(weight) % group:
                continue
            # [output channels, input channels of the group]
            inputs = np.repeat(mean.reshape(group, -1), len(weight) // group, 0)
            inputs = np.repeat(inputs, int(np.prod(weight.shape[2:])), 1)
            result = kept_mean(weight.reshape(len(weight), -1), inputs, levels, per_channel=per_channel).reshape(
                weight.shape
            )
        else:
            transposed = product.node.op_type == "Gemm" and _number(product.node, "transB")
            rows = weight if transposed else weight.T
            if len(mean) != rows.shape[1]:
                continue
            result = kept_mean(rows, mean[None], levels, per_channel=per_channel)
            result = result if transposed else result.T
        out[product.node.name] = product.weight, np.ascontiguousarray(result)
    return out


def _number(node: NodeProto, name: str) -> int:
    return next((a.i for a in node.attribute if a.name == name), 0)
