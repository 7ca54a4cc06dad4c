"""What changed between two models, one kind of change a case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.onnx_inspect import compare
from lib.onnx_inspect.examples import EXAMPLES, cnn
from tests.onnx_inspect.make import opened, parsed


def compared(a: ModelProto, b: ModelProto, folder: Path, rtol: float = 0.0, atol: float = 0.0) -> dict[str, Any]:
    return compare.compare(opened(a, folder / "a"), opened(b, folder / "b"), rtol, atol)


def changes(a: ModelProto, b: ModelProto, folder: Path, **tolerance: float) -> list[tuple[str, str, str]]:
    found = compared(a, b, folder, **tolerance)
    assert found["same"] == (not found["rows"])
    return sorted((r["kind"], r["change"], r["name"]) for r in found["rows"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_model_is_the_same_as_itself(name: str, tmp_path: Path) -> None:
    assert compared(EXAMPLES[name](), EXAMPLES[name](), tmp_path)["same"]


def edit(change: Callable[[ModelProto], object]) -> ModelProto:
    model = cnn()
    change(model)
    return model


def add_node(m: ModelProto) -> None:
    m.graph.node.append(helper.make_node("Relu", ["scores"], ["more"], "/more"))


def weight(m: ModelProto, name: str, value: np.ndarray) -> None:
    tensor = next(t for t in m.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def rename_weight(m: ModelProto) -> None:
    m.graph.initializer[5].name = m.graph.node[7].input[2] = "fc.offset"


def other_opset(m: ModelProto) -> None:
    m.opset_import[0].version = 21
    m.ir_version = 9


def rename_output(m: ModelProto) -> None:
    m.graph.output[0].name = m.graph.node[7].output[0] = "probabilities"


# what is done to the digits example: the rows that tell of it
CASES: dict[str, tuple[Callable[[ModelProto], object], list[tuple[str, str, str]]]] = {
    "node added": (add_node, [("node", "added", "/more")]),
    "node removed": (lambda m: m.graph.node.pop(), [("node", "removed", "/fc")]),
    "node renamed": (
        lambda m: setattr(m.graph.node[1], "name", "/activation"),
        [("node", "renamed", "/relu1 → /activation")],
    ),
    "operator": (lambda m: setattr(m.graph.node[1], "op_type", "Tanh"), [("node", "changed", "/relu1")]),
    "attribute": (lambda m: m.graph.node[0].attribute[0].ints.__setitem__(0, 2), [("node", "changed", "/conv1")]),
    "attribute added": (
        lambda m: m.graph.node[0].attribute.append(helper.make_attribute("group", 1)),
        [("node", "changed", "/conv1")],
    ),
    "one weight": (
        lambda m: weight(m, "conv1.bias", np.eye(16, dtype=np.float32)[3]),
        [("initializer", "changed", "conv1.bias")],
    ),
    "dtype of a weight": (lambda m: weight(m, "fc.bias", np.zeros(10)), [("initializer", "changed", "fc.bias")]),
    "shape of a weight": (
        lambda m: weight(m, "fc.bias", np.zeros((1, 10), np.float32)),
        [("initializer", "changed", "fc.bias")],
    ),
    "initializer added": (
        lambda m: m.graph.initializer.append(numpy_helper.from_array(np.ones(3), "more")),
        [("initializer", "added", "more")],
    ),
    "initializer removed": (lambda m: m.graph.initializer.pop(), [("initializer", "removed", "fc.bias")]),
    "initializer renamed": (rename_weight, [("initializer", "renamed", "fc.bias → fc.offset"), ("node", "changed", "/fc")]),
    "opset": (other_opset, [("model", "changed", "IR version"), ("model", "changed", "opset ai.onnx")]),
    "another domain": (
        lambda m: m.opset_import.append(helper.make_opsetid("local", 2)),
        [("model", "added", "opset local")],
    ),
    "metadata": (lambda m: m.metadata_props.add(key="author", value="me"), [("model", "added", "metadata author")]),
    "doc": (lambda m: setattr(m, "doc_string", "new"), [("model", "changed", "doc_string")]),
    "input shape": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 4),
        [("input", "changed", "image")],
    ),
    "input dtype": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 10), [("input", "changed", "image")]),
    "output renamed": (rename_output, [("output", "renamed", "scores → probabilities"), ("node", "changed", "/fc")]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_change(case: str, tmp_path: Path) -> None:
    change, expected = CASES[case]
    assert changes(cnn(), edit(change), tmp_path) == sorted(expected)


@pytest.mark.parametrize("case", CASES)
def test_back_again_says_the_opposite(case: str, tmp_path: Path) -> None:
    change, expected = CASES[case]
    turned = {"added": "removed", "removed": "added"}
    found = changes(edit(change), cnn(), tmp_path)
    assert sorted((k, turned.get(c, c)) for k, c, _ in expected) == sorted((k, c) for k, c, _ in found)


def test_before_and_after(tmp_path: Path) -> None:
    found = compared(cnn(), edit(lambda m: setattr(m.graph.node[1], "op_type", "Tanh")), tmp_path)
    (row,) = found["rows"]
    assert (row["before"], row["after"]) == ("Relu(c1) → r1", "Tanh(c1) → r1")
    assert found["counts"] == {"node": {"changed": 1}}
    (row,) = compared(cnn(), edit(CASES["input shape"][0]), tmp_path)["rows"]
    assert (row["before"], row["after"]) == ("float32 batch × 1 × 28 × 28", "float32 4 × 1 × 28 × 28")


def test_the_retrained_example(tmp_path: Path) -> None:
    found = changes(EXAMPLES["digits"](), EXAMPLES["digits-retrained"](), tmp_path)
    assert found == [("initializer", "changed", "fc.bias"), ("node", "added", "/softmax"), ("node", "changed", "/fc")]


@pytest.mark.parametrize(
    ("rtol", "atol", "same"),
    [(0, 0, False), (0, 0.9e-3, False), (0, 1.1e-3, True), (0.9e-3, 0, False), (1.1e-3, 0, True), (0.6e-3, 0.6e-3, True)],
)
def test_tolerance(rtol: float, atol: float, same: bool, tmp_path: Path) -> None:
    """|a-b| <= atol + rtol·|b|, with b = 1 here and a = 1.001."""
    a, b = (edit(lambda m, v=v: weight(m, "fc.bias", np.full(10, v, np.float32))) for v in (1.001, 1.0))
    found = compared(a, b, tmp_path, rtol, atol)
    assert found["same"] is same
    if not same:
        assert found["rows"][0]["after"] == "10 of 10 values differ, by up to 0.001"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ([np.nan, 1], [np.nan, 1], True),
        ([np.nan, 1], [1, 1], False),
        ([np.inf, 1], [np.inf, 1], True),
        ([np.inf, 1], [-np.inf, 1], False),
        ([1, 1], [np.inf, 1], False),
    ],
)
def test_values_that_are_not_finite(old: list[float], new: list[float], same: bool, tmp_path: Path) -> None:
    a, b = (edit(lambda m, v=v: weight(m, "fc.bias", np.float32(v))) for v in (old, new))
    assert compared(a, b, tmp_path, 1e-3, 1e-3)["same"] is same


def test_values_in_another_place_are_the_same(tmp_path: Path) -> None:
    """Inline against external, raw_data against float_data."""
    model = cnn()
    onnx.save(model, tmp_path / "saved.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    other = opened(
        onnx.load(tmp_path / "saved.onnx", load_external_data=False), tmp_path / "b", {"w.bin": tmp_path / "w.bin"}
    )
    assert compare.compare(opened(cnn(), tmp_path / "a"), other, 0, 0)["same"]
    plain = edit(lambda m: None)
    for tensor in plain.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, 1, values.shape, values.reshape(-1)))
    assert compared(cnn(), plain, tmp_path)["same"]


def test_values_that_were_not_uploaded(tmp_path: Path) -> None:
    onnx.save(cnn(), tmp_path / "saved.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    other = opened(onnx.load(tmp_path / "saved.onnx", load_external_data=False), tmp_path / "b")
    rows = compare.compare(opened(cnn(), tmp_path / "a"), other, 0, 0)["rows"]
    assert {r["after"] for r in rows} == {"its values cannot be read"} and len(rows) == 6


def test_nodes_without_names_go_by_what_they_make(tmp_path: Path) -> None:
    a = parsed("g (float[n] x) => (float[n] y) {h = Relu (x) y = Abs (h)}")
    b = parsed("g (float[n] x) => (float[n] y) {h = Relu (x) k = Neg (h) y = Abs (k)}")
    assert changes(a, b, tmp_path) == [("node", "added", "Neg → k"), ("node", "changed", "Abs → y")]


def test_a_change_in_a_subgraph_and_in_a_function(tmp_path: Path) -> None:
    loop, other = EXAMPLES["loop"](), EXAMPLES["loop"]()
    other.graph.node[0].attribute[0].g.node[0].op_type = "Mul"
    assert changes(loop, other, tmp_path) == [
        ("node", "added", "Loop_0/body/Mul → w"),
        ("node", "changed", "Loop → y"),
        ("node", "removed", "Loop_0/body/Add → w"),
    ]
    functions, changed = EXAMPLES["functions"](), EXAMPLES["functions"]()
    changed.functions[0].node[1].op_type = "Sigmoid"
    assert {c for c in changes(functions, changed, tmp_path) if c[0] == "node"}


def test_many_rows_are_cut_and_counted(tmp_path: Path) -> None:
    nodes = "".join(f"d{k} = Relu (x) " for k in range(compare.MAX_ROWS + 30))
    a, b = (
        parsed("g (float[n] x) => (float[n] y) {y = Abs (x)}"),
        parsed(f"g (float[n] x) => (float[n] y) {{y = Abs (x) {nodes}}}"),
    )
    found = compared(a, b, tmp_path)
    assert len(found["rows"]) == compare.MAX_ROWS and found["counts"] == {"node": {"added": compare.MAX_ROWS + 30}}


@pytest.mark.parametrize(
    ("old", "new", "gap"),
    [
        ([2**63 - 1], [2**63 - 2], "1 of 1 values differ, by up to 1"),
        ([2**53 + 1, 4], [2**53, 4], "1 of 2 values differ, by up to 1"),
        ([-(2**63)], [2**63 - 1], "1 of 1 values differ, by up to 1.84e+19"),
        ([2**63 - 1], [2**63 - 1], ""),
    ],
)
def test_whole_numbers_beyond_what_a_float_holds(old: list[int], new: list[int], gap: str, tmp_path: Path) -> None:
    """Slice's ends are INT64_MAX in every export."""

    def model(values: list[int], name: str) -> Any:
        weight = numpy_helper.from_array(np.array(values, np.int64), "w")
        value = [helper.make_tensor_value_info(n, TensorProto.INT64, [len(values)]) for n in "xy"]
        graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
        return opened(helper.make_model(graph, ir_version=10), tmp_path / name)

    found = compare.compare(model(old, "a"), model(new, "b"), 0, 0)
    assert [r["after"] for r in found["rows"]] == [gap] * bool(gap) and found["same"] is (not gap)
    assert compare.compare(model(old, "c"), model(new, "d"), 0, 2.0**64)["same"]
