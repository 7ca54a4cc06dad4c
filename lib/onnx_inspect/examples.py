"""Small example models, built from a seed or from ONNX text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper, parser

from lib.onnx_inspect.catalogue import DESCRIPTIONS, LINEAR, LOOP, SCALED


def cnn(seed: int = 0, *, extra: bool = False) -> ModelProto:
    """Build an image classifier: [batch, 1, 28, 28] to [batch, 10]. ``extra`` changes one bias and adds a Softmax."""
    rng = np.random.default_rng(seed)
    shapes = {"conv1.weight": (16, 1, 3, 3), "conv2.weight": (32, 16, 3, 3), "fc.weight": (10, 32 * 7 * 7)}
    weights = {n: (rng.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32) for n, s in shapes.items()}
    weights |= {
        "conv1.bias": np.zeros(16, np.float32),
        "conv2.bias": np.zeros(32, np.float32),
        "fc.bias": np.zeros(10, np.float32),
    }
    if extra:
        weights["fc.bias"] = rng.standard_normal(10).astype(np.float32)
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], "/conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "/relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "/pool1", **pool),
        helper.make_node("Conv", ["p1", "conv2.weight", "conv2.bias"], ["c2"], "/conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], "/relu2"),
        helper.make_node("MaxPool", ["r2"], ["p2"], "/pool2", **pool),
        helper.make_node("Flatten", ["p2"], ["flat"], "/flatten"),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["scores" if not extra else "logits"], "/fc", transB=1),
    ]
    if extra:
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], "/softmax"))
    return _model("digits", nodes, {"image": ["batch", 1, 28, 28]}, {"scores": ["batch", 10]}, weights)


def attention(seed: int = 0) -> ModelProto:
    """Build a transformer block of width 64 with dynamic batch and sequence."""
    rng, d = np.random.default_rng(seed), 64
    sizes = {"query": (d, d), "key": (d, d), "value": (d, d), "out": (d, d), "up": (d, 4 * d), "down": (4 * d, d)}
    weights = {n: (rng.standard_normal(s) / np.sqrt(s[0])).astype(np.float32) for n, s in sizes.items()}
    weights |= {"one": np.ones(d, np.float32), "zero": np.zeros(d, np.float32), "scale": np.float32(d**-0.5).reshape(())}
    operators = [
        ("LayerNormalization", ["x", "one", "zero"], "n1", "norm1"),
        ("MatMul", ["n1", "query"], "q", "attention/query"),
        ("MatMul", ["n1", "key"], "k", "attention/key"),
        ("MatMul", ["n1", "value"], "v", "attention/value"),
        ("Transpose", ["k"], "kt", "attention/transpose"),
        ("MatMul", ["q", "kt"], "qk", "attention/scores"),
        ("Mul", ["qk", "scale"], "scaled", "attention/scale"),
        ("Softmax", ["scaled"], "p", "attention/softmax"),
        ("MatMul", ["p", "v"], "pv", "attention/mix"),
        ("MatMul", ["pv", "out"], "o", "attention/out"),
        ("Add", ["x", "o"], "a", "residual1"),
        ("LayerNormalization", ["a", "one", "zero"], "n2", "norm2"),
        ("MatMul", ["n2", "up"], "u", "mlp/up"),
        ("Gelu", ["u"], "g", "mlp/gelu"),
        ("MatMul", ["g", "down"], "w", "mlp/down"),
        ("Add", ["a", "w"], "y", "residual2"),
    ]
    nodes = [
        helper.make_node(op, i, [o], f"/{n}", **({"perm": [0, 2, 1]} if op == "Transpose" else {}))
        for op, i, o, n in operators
    ]
    shape = ["batch", "sequence", d]
    return _model("block", nodes, {"x": shape}, {"y": shape}, weights)


def troubled() -> ModelProto:
    """Build a valid model that triggers most of the lints."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal((8, 8))
    weights = {"w": w, "again": w.copy(), "nobody": np.zeros(64), "A": rng.standard_normal((8, 8))}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "again"], ["b"], "second"),
        helper.make_node("Tanh", ["a"], ["unused"], "leads nowhere"),
        helper.make_node("RandomNormalLike", ["b"], ["noise"], "noise"),
        helper.make_node("Add", ["b", "noise"], ["c"], "add noise"),
        helper.make_node("MatMul", ["c", "A"], ["d"], "third"),
        helper.make_node("LeakyRelu", ["d"], ["y"], "leaky", alpha=float("nan")),
    ]
    model = _model("troubled", nodes, {"x": [1, 8], "ignored": [1, 2]}, {"y": [1, 8]}, weights, onnx.TensorProto.DOUBLE, 11)
    model.graph.input.append(helper.make_tensor_value_info("A", onnx.TensorProto.DOUBLE, [8, 8]))
    return model


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list],
    outputs: dict[str, list],
    weights: dict[str, np.ndarray],
    dtype: int = onnx.TensorProto.FLOAT,
    opset: int = 20,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, dtype, s) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model.producer_name, model.producer_version = "model-workbench", "1"
    return model


EXAMPLES: dict[str, Callable[[], ModelProto]] = {
    "linear": lambda: parser.parse_model(LINEAR),
    "digits": cnn,
    "digits-retrained": lambda: cnn(extra=True),
    "transformer-block": attention,
    "loop": lambda: parser.parse_model(LOOP),
    "functions": lambda: parser.parse_model(SCALED),
    "troubled": troubled,
}
assert list(EXAMPLES) == list(DESCRIPTIONS)
