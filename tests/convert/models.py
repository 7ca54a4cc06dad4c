"""Tiny ONNX models whose outputs depend on their inputs; the same on every run. For tests of runners and edges."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray
IR = 8


def made(nodes: list[NodeProto], inputs: list, outputs: list, weights: dict[str, Array], opset: int) -> ModelProto:
    """A checked model; ``inputs`` and ``outputs`` are (name, TensorProto type, shape)."""
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    infos = [[helper.make_tensor_value_info(*one) for one in some] for some in (inputs, outputs)]
    graph = helper.make_graph(nodes, "tiny", *infos, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR)
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: ModelProto, folder: Path, **given: object) -> Path:
    """An artifact of the format onnx: ``folder`` with ``model.onnx``. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"), **given)
    return folder


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    """Scaled so that a layer keeps the size of its input."""
    fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
    return (rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)


def conv_net(opset: int = 17, batch: int | str = "batch") -> ModelProto:
    """``image`` [batch, 3, 16, 16] -> ``scores`` [batch, 10]: two convolutions with batch norms, pooling, Gemm."""
    rng = np.random.default_rng(0)
    weights = {"conv1.weight": _weights(rng, 8, 3, 3, 3), "conv2.weight": _weights(rng, 16, 8, 3, 3)}
    for k, n in ((1, 8), (2, 16)):
        weights |= {
            f"bn{k}.weight": rng.uniform(0.5, 1.5, n).astype(np.float32),
            f"bn{k}.bias": (rng.standard_normal(n) * 0.1).astype(np.float32),
            f"bn{k}.mean": (rng.standard_normal(n) * 0.1).astype(np.float32),
            f"bn{k}.var": rng.uniform(0.5, 1.5, n).astype(np.float32),
        }
    weights |= {"fc.weight": _weights(rng, 256, 10), "fc.bias": (rng.standard_normal(10) * 0.1).astype(np.float32)}
    norm = [[f"bn{k}.{part}" for part in ("weight", "bias", "mean", "var")] for k in (1, 2)]
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight"], ["c1"], "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", *norm[0]], ["b1"], "bn1"),
        helper.make_node("Relu", ["b1"], ["r1"], "relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "conv2.weight"], ["c2"], "conv2", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c2", *norm[1]], ["b2"], "bn2"),
        helper.make_node("Relu", ["b2"], ["r2"], "relu2"),
        helper.make_node("AveragePool", ["r2"], ["g"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["g"], ["f"], "flatten", axis=1),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["scores"], "fc"),
    ]
    f32 = TensorProto.FLOAT
    return made(nodes, [("image", f32, [batch, 3, 16, 16])], [("scores", f32, [batch, 10])], weights, opset)


def mlp(opset: int = 17, batch: int | str = "batch") -> ModelProto:
    """``x`` [batch, 16] -> ``y`` [batch, 4]: three linear layers with Relu and Tanh between."""
    rng = np.random.default_rng(1)
    sizes = (16, 32, 32, 4)
    weights: dict[str, Array] = {}
    nodes, last = [], "x"
    for k, (a, b) in enumerate(pairwise(sizes)):
        weights[f"w{k}"], weights[f"b{k}"] = _weights(rng, a, b), (rng.standard_normal(b) * 0.1).astype(np.float32)
        out = "y" if k == 2 else f"h{k}"
        nodes += [
            helper.make_node("MatMul", [last, f"w{k}"], [f"m{k}"], f"matmul{k}"),
            helper.make_node("Add", [f"m{k}", f"b{k}"], [out], f"add{k}"),
        ]
        if k < 2:
            nodes.append(helper.make_node(("Relu", "Tanh")[k], [out], [f"a{k}"], f"act{k}"))
            last = f"a{k}"
    f32 = TensorProto.FLOAT
    return made(nodes, [("x", f32, [batch, 16])], [("y", f32, [batch, 4])], weights, opset)


def attention(opset: int = 17, vocabulary: int = 50, width: int = 16) -> ModelProto:
    """``input_ids``, ``attention_mask`` [batch, sequence] int64 -> ``logits`` [batch, sequence, vocabulary].

    Embedding, one masked attention head, residual, layer norm from ReduceMean, and the output projection.
    """
    rng = np.random.default_rng(2)
    weights = {name: _weights(rng, width, width) for name in ("wq", "wk", "wv", "wo")}
    weights |= {
        "embedding": rng.standard_normal((vocabulary, width)).astype(np.float32),
        "head": _weights(rng, width, vocabulary),
        "scale": np.float32(1 / np.sqrt(width)),
        "one": np.float32(1),
        "low": np.float32(-1e4),
        "two": np.float32(2),
        "epsilon": np.float32(1e-5),
        "axes": np.array([1], np.int64),
    }

    def node(kind: str, inputs: str, output: str, **given: object) -> NodeProto:
        return helper.make_node(kind, inputs.split(), [output], f"{kind}_{output}", **given)

    mean: dict[str, object] = {"axes": [-1], "keepdims": 1}
    if opset >= 18:
        weights["last"], mean = np.array([-1], np.int64), {"keepdims": 1}
    last = " last" if opset >= 18 else ""
    unsqueeze = node("Unsqueeze", "mask axes", "mask1") if opset >= 13 else node("Unsqueeze", "mask", "mask1", axes=[1])
    if opset < 13:
        del weights["axes"]
    nodes = [
        node("Gather", "embedding input_ids", "e"),
        *(node("MatMul", f"e w{x}", x) for x in "qkv"),
        node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "q kt", "qk"),
        node("Mul", "qk scale", "scaled"),
        node("Cast", "attention_mask", "mask", to=TensorProto.FLOAT),
        unsqueeze,
        node("Sub", "one mask1", "hidden"),
        node("Mul", "hidden low", "penalty"),
        node("Add", "scaled penalty", "masked"),
        node("Softmax", "masked", "p", axis=2),  # the last: until opset 12 what comes after the axis is one row
        node("MatMul", "p v", "pv"),
        node("MatMul", "pv wo", "o"),
        node("Add", "e o", "r"),
        node("ReduceMean", "r" + last, "mu", **mean),
        node("Sub", "r mu", "d"),
        node("Pow", "d two", "dd"),
        node("ReduceMean", "dd" + last, "variance", **mean),
        node("Add", "variance epsilon", "ve"),
        node("Sqrt", "ve", "sd"),
        node("Div", "d sd", "n"),
        node("MatMul", "n head", "logits"),
    ]
    ids = [(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")]
    return made(nodes, ids, [("logits", TensorProto.FLOAT, ["batch", "sequence", vocabulary])], weights, opset)


def inputs(model: ModelProto, seed: int = 0, **sizes: int) -> dict[str, Array]:
    """Arrays for the three models above; ``sizes`` by symbol, 2 where none is given."""
    rng, out = np.random.default_rng(seed), {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or sizes.get(d.dim_param, 2) for d in kind.shape.dim]
        if kind.elem_type == TensorProto.INT64:
            ones = value.name == "attention_mask"
            out[value.name] = np.ones(shape, np.int64) if ones else rng.integers(0, 50, shape)
        else:
            out[value.name] = rng.standard_normal(shape).astype(np.float32)
    return out


def error(ours: Array, expected: Array) -> float:
    """Largest difference over the expected range. Infinite where shapes differ or a number is not finite."""
    a, b = np.asarray(ours, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a - b).max() / max(float(np.ptp(b)), 1e-12))


def cosine(ours: Array, expected: Array) -> float:
    a, b = np.asarray(ours, np.float64).ravel(), np.asarray(expected, np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
