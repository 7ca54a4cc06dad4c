"""Faults of names: each is found, and its node is named although it has no name; onnx's own words for it are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from onnx import ModelProto

from tests.onnx_inspect.make import parsed, report

OLD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def errors(source: ModelProto | str, folder: Path) -> list[dict[str, Any]]:
    return [p for p in report(source, folder)["problems"] if p["severity"] == "error"]


def loads(model: ModelProto) -> bool:
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's errors share no public base class
        return False
    return True


def test_an_unknown_operator_and_every_undefined_input_are_reported(tmp_path: Path) -> None:
    found = errors(OLD + "g (float[2] x) => (float[2] y) {h = Relux (x) k = Add (h, Z) y = Add (k, Q)}", tmp_path)
    said = {(p["rule"], p["where"]): p for p in found}
    assert set(said) == {("unknown-operator", "Relux_0"), ("undefined-input", "Add_1"), ("undefined-input", "Add_2")}
    operator = said["unknown-operator", "Relux_0"]
    assert operator["message"] == "ai.onnx opset 17 has no operator 'Relux' (the node makes 'h')"
    assert operator["fix"] == "Did the exporter mean Relu?"
    assert "reads 'Z'" in said["undefined-input", "Add_1"]["message"]
    assert "reads 'Q'" in said["undefined-input", "Add_2"]["message"]


def test_an_operator_of_a_later_opset(tmp_path: Path) -> None:
    (found,) = errors(OLD + "g (float[2] x) => (float[2] y) {y = Gelu (x)}", tmp_path)
    assert found["fix"] == "Gelu came with opset 20: export with that opset or a later one."


def test_what_a_branch_sees_is_defined(tmp_path: Path) -> None:
    text = "(bool c, float[2] x) => (float[2] y) {h = Abs (x) y = If (c) <then_branch = t () => (float[2] p) {p = Neg (h)},"
    assert errors(f"g {text} else_branch = e () => (float[2] q) {{q = Neg (x)}}>}}", tmp_path) == []
    (found,) = errors(f"g {text} else_branch = e () => (float[2] q) {{q = Neg (Z)}}>}}", tmp_path)
    assert found["where"] == "If_1/else_branch/Neg_0" and "reads 'Z'" in found["message"]


def named(model: ModelProto, where: str) -> ModelProto:
    branch = model.graph.node[0].attribute[0].g.node if where == "branch" else []
    nodes = {"graph": model.graph.node, "branch": branch, "constants": model.graph.node[:2]}.get(where)
    for node in model.functions[0].node if nodes is None else nodes:
        node.name = "k"
    return model


ABS = "g (float[2] x) => (float[2] y) {h = Abs (x) y = Neg (h)}"
BRANCH = (
    "g (bool c, float[2] x) => (float[2] y) {y = If (c) <then_branch = t () => (float[2] p) {u = Abs(x) p = Neg(u)},"
    "else_branch = e () => (float[2] q) {q = Abs(x)}>}"
)
CONSTANTS = "g (float[2] x) => (float[2] y) {u = Constant <value_float = 1.0> () v = Constant <value_float = 2.0> ()"
FUNCTION = (
    '<ir_version: 8, opset_import: ["" : 17, "l" : 1]> g (float[2] x) => (float[2] y) {y = l.f (x)}'
    '<domain: "l", opset_import: ["" : 17]> f (x) => (y) {u = Abs (x) y = Neg (u)}'
)


@pytest.mark.parametrize(
    ("text", "where", "refused"),
    [
        (OLD + ABS, "graph", True),
        (OLD + BRANCH, "branch", True),
        (FUNCTION, "function", True),
        (OLD + CONSTANTS + " w = Add (u, v) y = Add (x, w)}", "constants", False),
    ],
)
def test_two_nodes_of_one_name_are_an_error_where_onnxruntime_refuses(
    text: str, where: str, refused: bool, tmp_path: Path
) -> None:
    model = named(parsed(text), where)
    assert loads(model) is not refused
    found = errors(model, tmp_path)
    assert [p["rule"] for p in found] == ["duplicate-node-name"] * refused
    assert all("onnxruntime refuses" in p["message"] for p in found)
