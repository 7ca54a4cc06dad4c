"""Each lint fires on a small model made for it, and on nothing else that the table says is fine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.onnx_inspect import check
from lib.onnx_inspect.examples import EXAMPLES, cnn
from lib.onnx_inspect.lints import LINTS, Subject, lint
from tests.onnx_inspect.make import parsed, report, subject


def headed(opset: int, ir: int) -> str:
    return f'<ir_version: {ir}, opset_import: ["" : {opset}]> g (float[n] x) => (float[n] y) {{y = Relu (x)}}'


def weighing(*weights: np.ndarray, used: bool = True) -> ModelProto:
    """x plus each of the weights w0, w1, …"""
    names = [f"w{k}" for k in range(len(weights))]
    nodes = [helper.make_node("Sum", ["x", *(names if used else [])], ["y"], "sum")]
    inputs = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(weights[0].dtype), ["n", 64])]
    outputs = [helper.make_tensor_value_info("y", inputs[0].type.tensor_type.elem_type, ["n", 64])]
    tensors = [numpy_helper.from_array(w, n) for n, w in zip(names, weights, strict=True)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def dropping(training: bool) -> str:
    return f"g (float[n] x) => (float[n] y) <float r = {{0.5}}, bool t = {{{int(training)}}}> {{y = Dropout (x, r, t)}}"


def normalising(attributes: str, outputs: str = "y") -> str:
    return (
        f"g (float[n,2,3] x, float[2] a) => (float[n,2,3] y){{{outputs} = BatchNormalization {attributes} (x, a, a, a, a)}}"
    )


def constant(elements: int) -> ModelProto:
    value = numpy_helper.from_array(np.zeros(elements, np.float32), "v")
    nodes = [
        helper.make_node("Constant", [], ["c"], "constant", value=value),
        helper.make_node("Size", ["c"], ["y"], "size"),
    ]
    return helper.make_model(helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.INT64, [])]))


def leaky(alpha: float) -> ModelProto:
    model = parsed("g (float[n] x) => (float[n] y) {y = LeakyRelu <alpha=1.0> (x)}")
    model.graph.node[0].attribute[0].f = alpha
    return model


def named(*names: str) -> ModelProto:
    model = parsed("g (float[n] x) => (float[n] y) {a = Relu (x) y = Abs (a)}")
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    return model


def with_inputs_for_weights() -> ModelProto:
    model = cnn()
    model.graph.input.append(helper.make_tensor_value_info("fc.bias", TensorProto.FLOAT, [10]))
    return model


ONES, TWOS, WIDE = np.ones((1, 64), np.float32), np.full((1, 64), 2, np.float32), np.ones((1, 64))
# name: models that have it, each with a part of the message or of where; models that do not
CASES: dict[str, tuple[dict[str, ModelProto | str], list[ModelProto | str]]] = {
    "old-opset": ({"opset 11 is old": headed(11, 6)}, [headed(13, 7)]),
    "newer-than-onnxruntime": (
        {"IR version 99 is newer": headed(20, 99), "opset 99 is newer": headed(99, 8)},
        [headed(20, 10)],
    ),
    "no-kernel": (
        {
            "1 node of local.Magic": "g (float[n] x) => (float[n] y) {y = local.Magic (x)}",
            "2 nodes of com.microsoft.Magic": "g (float[n] x) => (float[n] y)"
            "{a = com.microsoft.Magic (x) y = com.microsoft.Magic (a)}",
        },
        [
            "g (float[n] x) => (float[n] y) {y = Gelu (x)}",
            "g (float[n] x) => (float[n] y) {y = Mish (x)}",  # a function of ai.onnx
            EXAMPLES["functions"](),
            EXAMPLES["loop"](),
        ],
    ),
    "dead-node": (
        {"this Tanh leads to no output": "g (float[n] x) => (float[n] y) {y = Relu (x) d = Tanh (x)}"},
        [
            "g (float[n] x, bool c) => (float[n] y) {a = Tanh (x) y = If (c) <"
            "then_branch = t () => (float[n] p) {p = Abs (a)}, else_branch = e () => (float[n] q) {q = Relu (a)}>}"
        ],
    ),
    "unused-initializer": ({"no node reads this initializer (256 B)": weighing(ONES, used=False)}, [weighing(ONES)]),
    "unused-input": (
        {"no node reads this input": "g (float[n] x, float[n] z) => (float[n] y) {y = Relu (x)}"},
        ["g (float[n] x, float[n] y) => (float[n] y) {d = Relu (x)}", with_inputs_for_weights()],
    ),
    "duplicate-initializer": (
        {
            "holds the same values as 'w0' (256 B)": weighing(ONES, TWOS, ONES),
            "(65.5 kB)": weighing(*(np.ones((2, 64, 64)),) * 2),
        },
        [weighing(ONES, TWOS), weighing(np.ones((1, 2), np.float32), np.ones((1, 2), np.float32))],
    ),
    "float64": (
        {"1 initializer is float64 (512 B)": weighing(WIDE), "this input is float64": weighing(WIDE)},
        [weighing(ONES)],
    ),
    "weights-as-inputs": ({"initializers among the inputs (1)": with_inputs_for_weights()}, []),
    "fixed-batch": (
        {"fixed to 4": "g (float[4,3] x) => (float[4,3] y) {y = Relu (x)}"},
        [
            "g (float[n,3] x) => (float[n,3] y) {y = Relu (x)}",
            "g (float[4] x) => (float[4] y) {y = Relu (x)}",
            "g (float[4,3] x, float[n,3] z) => (float[4,3] y) {y = Add (x, z)}",
        ],
    ),
    "non-deterministic": (
        {"RandomNormalLike without a seed": "g (float[n] x) => (float[n] y) {y = RandomNormalLike (x)}"},
        ["g (float[n] x) => (float[n] y) {y = RandomNormalLike <seed=1.0> (x)}"],
    ),
    "training-mode": (
        {
            "this Dropout is in training mode": dropping(True),
            "this BatchNormalization is in training mode": normalising("<training_mode=1>", "y, m, v"),
        },
        [dropping(False), normalising("<training_mode=0>"), normalising("")],
    ),
    "not-finite": (
        {"its attribute 'alpha' is NaN or infinite": leaky(float("nan")), "infinite": leaky(float("-inf"))},
        [leaky(0.1), "g () => (float y) {y = Constant <value_float = -inf> ()}".replace("-inf", "1.0")],
    ),
    "no-op": (
        {
            "3 Identity nodes do nothing": "g (float[n] x) => (float[n] y)"
            "{a = Identity (x) b = Identity (a) y = Identity (b)}"
        },
        ["g (float[n] x) => (float[n] y) {a = Identity (x) y = Identity (a)}"],
    ),
    "unnamed-node": ({"nodes without a name (1)": named("a", "")}, [named("a", "b")]),
    "unknown-shape": (
        {"the shape of this output is not known": "g (float[2,3] x, int64[k] n) => (float[a,b] y) {y = Reshape (x, n)}"},
        ["g (float[n] x) => (float[n] y) {y = Relu (x)}"],
    ),
    "large-constant": ({"holds 4.19 MB of float32": constant(1 << 20)}, [constant(1 << 18)]),
    "unused-file": ({"no tensor of the model names this uploaded file": cnn()}, []),
}


def found_in(model: ModelProto | str, name: str, folder: Path) -> list[str]:
    extra = {"more.bin": folder / "more.bin"} if name == "unused-file" else {}
    (folder / "more.bin").write_bytes(b"\0" * 8)
    at: Subject = subject(model, folder, extra)
    if name == "unknown-shape":  # declared with a rank, which the parser always writes
        for value in at.inferred.graph.output if isinstance(model, str) and "Reshape" in model else ():
            value.type.tensor_type.ClearField("shape")
    problems = list(LINTS[name](at))
    assert all(p.severity in ("warning", "info") and p.where and p.fix for p in problems)
    return [f"{p.where}: {p.message}" for p in problems]


def test_every_lint_has_a_case() -> None:
    assert list(CASES) == list(LINTS)


@pytest.mark.parametrize("name", CASES)
def test_a_lint(name: str, tmp_path: Path) -> None:
    bad, good = CASES[name]
    for message, model in bad.items():
        assert any(message in text for text in found_in(model, name, tmp_path)), message
    for model in good:
        assert found_in(model, name, tmp_path) == []


def test_the_clean_example_is_clean(tmp_path: Path) -> None:
    found = report(EXAMPLES["digits"](), tmp_path)
    assert found["problems"] == [] and found["valid"]


def test_the_troubled_example_is_valid_and_troubled(tmp_path: Path) -> None:
    found = report(EXAMPLES["troubled"](), tmp_path)
    rules = {p["rule"] for p in found["problems"]}
    assert found["valid"] and len(rules) >= 10 and rules <= set(LINTS)


@pytest.mark.parametrize("name", ["linear", "digits-retrained", "transformer-block", "loop", "functions"])
def test_no_warning_for_the_other_examples(name: str, tmp_path: Path) -> None:
    assert [p for p in report(EXAMPLES[name](), tmp_path)["problems"] if p["severity"] != "info"] == []


def test_twins_outside_the_skeleton_are_told_from_look_alikes(tmp_path: Path) -> None:
    """Same start and end, another middle: only reading them shows it."""
    big = np.zeros((200, 64), np.float32)
    other = big.copy()
    other[100] = 1
    assert found_in(weighing(big, other), "duplicate-initializer", tmp_path) == []
    assert len(found_in(weighing(big, other, big), "duplicate-initializer", tmp_path)) == 1


def test_many_alike_become_one_line(tmp_path: Path) -> None:
    nodes = "".join(f"d{k} = Tanh (x) " for k in range(check.MAX_PER_KIND + 7))
    problems = report(f"g (float[n] x) => (float[n] y) {{y = Relu (x) {nodes}}}", tmp_path)["problems"]
    dead = [p for p in problems if p["rule"] == "dead-node"]
    assert len(dead) == check.MAX_PER_KIND + 1 and dead[-1]["message"] == "7 more like these."


def test_two_lints_of_one_name_are_a_mistake() -> None:
    register: Callable = lint("no-op")
    with pytest.raises(AssertionError, match="no-op"):
        register(lambda subject: iter(()))


# ---- what makes a model invalid (check.py)


def broken(how: str) -> ModelProto:
    model = parsed("g (float[2,3] x) => (float[2,3] y) <float[3] w = {1, 2, 3}> {a = Add (x, w) b = Relu (a) y = Abs (b)}")
    nodes, (weight,) = model.graph.node, model.graph.initializer
    if how == "cycle":
        nodes[0].input[1] = "b"
    if how == "order":
        first = onnx.NodeProto()
        first.CopyFrom(nodes[0])
        nodes.remove(nodes[0])
        nodes.append(first)
    if how == "size":
        weight.CopyFrom(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**9], raw_data=b"\0" * 12))
    if how == "nothing held":
        weight.CopyFrom(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**9]))
    if how == "negative":
        weight.dims[0] = -3
    if how == "dtype":
        weight.data_type = 99
    if how == "external":
        weight.CopyFrom(TensorProto(name="w", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL))
        weight.external_data.add(key="location", value="w.bin")
    if how == "shapes":
        nodes[0].op_type = "MatMul"
    return model


BROKEN = {
    "cycle": ("graph", "the graph has a cycle; 3 nodes wait for it: 'Add_0', 'Relu_1', 'Abs_2'"),
    "order": ("graph", "its nodes are not in execution order"),
    "size": ("initializer 'w'", "shape [1000000000] of float32 takes 4,000,000,000 bytes, but there are 12"),
    "nothing held": ("initializer 'w'", "it declares 1,000,000,000 elements and holds none"),
    "negative": ("initializer 'w'", "a dimension is negative: [-3]"),
    "dtype": ("initializer 'w'", "its dtype (type 99) is not defined by onnx"),
    "external": ("w.bin", "the values of 1 tensor are in 'w.bin', which was not uploaded"),
    "shapes": ("model", "Inferred shape and existing shape differ in rank: (1) vs (2)"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_invalid_model_says_why(how: str, tmp_path: Path) -> None:
    found = report(broken(how), tmp_path)
    where, message = BROKEN[how]
    errors = [p for p in found["problems"] if p["severity"] == "error"]
    assert not found["valid"] and any(p["where"] == where and message in p["message"] for p in errors), errors
    assert found["problems"][: len(errors)] == errors  # the worst come first
    assert not any(str(tmp_path) in p["message"] or ".cc" in p["message"] for p in found["problems"])


def test_messages_of_onnx_are_cleaned() -> None:
    raw = "/build/onnx/checker.cc:123: check_model: In /tmp/job-1/skeleton.onnx, inline-0123456789abcdef-9\n  is bad"
    text = check.clean(raw)
    assert "/" not in text and ".cc" not in text and "\n" not in text and "the model file is bad" in text
    assert len(check.clean("word " * 1000)) <= 601
