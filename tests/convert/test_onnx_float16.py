"""ONNX to float16: what is folded and cast first, which weights it loses and which only look so, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lib.convert.formats import load
from lib.errors import InvalidFile
from lib.model_inputs import samples
from tests.convert import models
from tests.convert.edge_run import convert

F32, F64 = TensorProto.FLOAT, TensorProto.DOUBLE
N = helper.make_node


def model(nodes: list[NodeProto], weights: dict[str, np.ndarray], kind: int = F32, opset: int = 17) -> ModelProto:
    """``x`` [n, 4] -> ``y`` [n, 4]."""
    return models.made(nodes, [("x", kind, ["n", 4])], [("y", kind, ["n", 4])], weights, opset)


def branch(name: str, nodes: list[NodeProto], weights: dict[str, np.ndarray]) -> onnx.GraphProto:
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(nodes[-1].output[0], F32, ["n", 4])], held)


def with_if(then: float = 2.0, otherwise: float = 3.0) -> ModelProto:
    """Both branches have an initializer ``c`` and capture ``a``, which is made behind the If's place in the file."""
    graphs = {
        "then_branch": branch("then", [N("Mul", ["a", "c"], ["t"])], {"c": np.float32(then)}),
        "else_branch": branch("else", [N("Add", ["a", "c"], ["e"])], {"c": np.float32(otherwise)}),
    }
    nodes = [
        N("ReduceSum", ["x"], ["sum"], keepdims=0),
        N("Greater", ["sum", "zero"], ["more"]),
        N("Neg", ["x"], ["a"]),
        N("If", ["more"], ["y"], **graphs),
    ]
    found = model(nodes, {"zero": np.float32(0)})
    del found.graph.node[2]
    found.graph.node.append(nodes[2])
    return found


def run(given: ModelProto, tmp_path: Path, **options: object) -> tuple[dict, list[tuple[np.ndarray, np.ndarray]]]:
    """What the edge said, and (source's, target's) ``y`` for inputs of both signs."""
    folder = models.save(given, tmp_path / "s")
    said = convert("onnx", "onnx-fp16", folder, tmp_path / "t", **options)
    ours, theirs = load("onnx", folder), load("onnx", tmp_path / "t")
    kind = np.float64 if given.graph.input[0].type.tensor_type.elem_type == F64 else np.float32
    rng = np.random.default_rng(0)
    cases = [{"x": sign * np.abs(rng.standard_normal((3, 4))).astype(kind)} for sign in (1, -1)]
    return said, [(ours.run(case)["y"], theirs.run(case)["y"]) for case in cases]


def close(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for want, got in pairs:
        assert want.dtype == got.dtype and models.error(got, want) < 3e-3


def test_branches_that_capture_and_share_names(tmp_path: Path) -> None:
    said, pairs = run(with_if(), tmp_path)
    close(pairs)
    assert said["lost"] == []


def test_a_weight_inside_a_branch_is_lost(tmp_path: Path) -> None:
    said, _ = run(with_if(otherwise=1e6), tmp_path)
    (lost,) = said["lost"]
    assert "has a number above float16's maximum, 65504, such as 1e+06" in lost


def test_constants_are_folded_before_they_are_rounded(tmp_path: Path) -> None:
    """A weight that the graph makes of two: 1e-9 * 1e9 is 1, and 1e-9 is nothing in float16."""
    nodes = [
        N("Constant", [], ["small"], value_float=1e-9),
        N("Mul", ["large", "small"], ["w"]),
        N("Exp", ["w"], ["v"]),
        N("Mul", ["x", "v"], ["y"]),
    ]
    given = model(nodes, {"large": np.array([1e9, 2e9, 0.5e9, 1e8], np.float32)})
    said, pairs = run(given, tmp_path)
    close(pairs)
    assert said["lost"] == [] and said["messages"] == []
    found = onnx.load(tmp_path / "t" / "model.onnx").graph
    assert [t.name for t in found.initializer] == ["v"] and {n.op_type for n in found.node} == {"Mul", "Cast"}


LOST = {
    "a factor near nothing": (
        [N("Mul", ["x", "w"], ["y"])],
        np.float32(1e-9),
        "number near zero that float16 cannot represent",
    ),
    "a large factor": ([N("Mul", ["x", "w"], ["y"])], np.float32(1e9), "65504, such as 1e\\+09"),
    "a mask without a softmax": ([N("Add", ["x", "w"], ["y"])], np.float32(-1e9), "65504, such as -1e\\+09"),
    "a weight among others": (
        [N("MatMul", ["x", "w"], ["a"]), N("Softmax", ["a"], ["y"])],
        np.diag(np.array([1, 2, 3, 7e4], np.float32)),
        r"'w' \[4, 4\] has a number above float16's maximum, 65504, such as 70000 at \[3, 3\]",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_lost(name: str, tmp_path: Path) -> None:
    nodes, weight, words = LOST[name]
    said, _ = run(model(nodes, {"w": weight}), tmp_path)
    assert len(said["lost"]) == 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(said["lost"][0])


HARMLESS = {
    "an epsilon": ([N("Abs", ["x"], ["a"]), N("Add", ["a", "w"], ["b"]), N("Sqrt", ["b"], ["y"])], 1e-12, "only added"),
    "a mask before a softmax": (
        [
            N("Greater", ["x", "half"], ["g"]),
            N("Cast", ["g"], ["s"], to=F32),
            N("Mul", ["s", "w"], ["m"]),
            N("Add", ["m", "x"], ["a"]),
            N("Softmax", ["a"], ["y"]),
        ],
        -1e9,
        "masks values before a softmax",
    ),
    "float32's lowest": (
        [N("Greater", ["x", "zero"], ["g"]), N("Where", ["g", "x", "w"], ["a"]), N("Softmax", ["a"], ["y"])],
        np.finfo(np.float32).min,
        "masks values before a softmax",
    ),
    "a bound": ([N("Clip", ["x", "", "w"], ["y"])], 1e6, "a bound, which float16 imposes anyway"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_lost(name: str, tmp_path: Path) -> None:
    nodes, weight, words = HARMLESS[name]
    more = {"zero": np.float32(0), "half": np.float32(0.5)}
    used = {k: v for k, v in more.items() if any(k in n.input for n in nodes)}
    said, pairs = run(model(nodes, {"w": np.float32(weight)} | used), tmp_path)
    close(pairs)
    assert said["lost"] == [] and said["blind_spots"] == []
    assert any(words in message for message in said["messages"])


@pytest.mark.parametrize("keep_io_types", [True, False])
def test_float64(keep_io_types: bool, tmp_path: Path) -> None:
    nodes = [N("MatMul", ["x", "w"], ["a"]), N("Cast", ["a"], ["b"], to=F64), N("Add", ["b", "c"], ["y"])]
    given = model(nodes, {"w": np.eye(4) / 3, "c": np.arange(4.0)}, kind=F64)
    folder = models.save(given, tmp_path / "s")
    said = convert("onnx", "onnx-fp16", folder, tmp_path / "t", keep_io_types=keep_io_types)
    assert "The model computes in float64; it was converted to float32 first." in said["messages"]
    found = onnx.load(tmp_path / "t" / "model.onnx")
    assert {t.data_type for t in found.graph.initializer} == {TensorProto.FLOAT16}
    runner = load("onnx", tmp_path / "t")
    (taken,) = (v.dtype for v in runner.signature().inputs)
    assert taken == ("float64" if keep_io_types else "float16")
    x = np.random.default_rng(0).standard_normal((3, 4))
    got = runner.run({"x": x.astype(taken)})["y"]
    assert got.dtype == taken and models.error(got, load("onnx", folder).run({"x": x})["y"]) < 3e-3


def test_nothing_to_convert(tmp_path: Path) -> None:
    convert("onnx", "onnx-fp16", models.save(models.mlp(), tmp_path / "a"), tmp_path / "b")
    said = convert("onnx", "onnx-fp16", tmp_path / "b", tmp_path / "c")
    assert said == {"unchanged": "The model is already float16; there is nothing to convert."}
    mixed = onnx.load(tmp_path / "b" / "model.onnx")  # float16, with a layer behind that is not
    mixed.graph.initializer.append(numpy_helper.from_array(np.eye(4, dtype=np.float32), "last"))
    mixed.graph.node.append(N("MatMul", ["y", "last"], ["z"], "last"))
    mixed.graph.output[0].name = "z"
    convert("onnx", "onnx-fp16", models.save(mixed, tmp_path / "m"), tmp_path / "n")
    given = models.inputs(models.mlp(), batch=3)
    want, got = load("onnx", tmp_path / "a").run(given)["y"], load("onnx", tmp_path / "n").run(given)["z"]
    assert models.error(got, want) < 3e-3
    tree = N("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0] * 4, scale=[2.0] * 4)
    infos = [[helper.make_tensor_value_info(n, F32, ["n", 4])] for n in "xy"]
    graph = helper.make_graph([tree], "scaled", *infos)
    learned = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)], ir_version=8)
    said = convert("onnx", "onnx-fp16", models.save(learned, tmp_path / "d"), tmp_path / "e")
    assert said["unchanged"].startswith("Nothing would become float16: the model's operators (Scaler)")


def test_inputs_of_operators_without_float16_are_not_narrowed(tmp_path: Path) -> None:
    """A scaler in front takes its features as they are: 70000.5 is infinite in float16, and its digits matter."""
    scaler = N("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[70000.0] * 4, scale=[1.0] * 4)
    infos = [[helper.make_tensor_value_info(n, F32, ["n", 4])] for n in "xy"]
    held = [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")]
    graph = helper.make_graph([scaler, N("MatMul", ["s", "w"], ["y"])], "scaled", *infos, held)
    imports = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 17)]
    folder = models.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "s")
    convert("onnx", "onnx-fp16", folder, tmp_path / "t")
    x = np.array([[70000.5, 69999, 70001, 70000.25]], np.float32)
    assert load("onnx", tmp_path / "t").run({"x": x})["y"].tolist() == [[0.5, -1, 1, 0.25]]


def test_samples_over_its_end_are_lost(tmp_path: Path) -> None:
    folder = models.save(models.mlp(), tmp_path / "s")
    rows = [{"x": np.full((1, 16), value, np.float32)} for value in (1.0, 1e5)]
    (tmp_path / "real").mkdir()
    samples.save(samples.Samples(rows, None, [], "arrays", None, []), tmp_path / "real")
    from lib.convert.edges.onnx_to_onnx_fp16 import convert as edge

    (tmp_path / "t").mkdir()
    said = edge(lambda *_: None, folder, tmp_path / "t", {"keep_io_types": True, "samples": str(tmp_path / "real")})
    assert said["lost"] == ["The input 'x' reaches 100000 in the samples; float16 ends at 65504."]
    assert "on the samples" in said["blind_spots"][0]


def test_a_partly_quantised_model_is_refused(tmp_path: Path) -> None:
    convert("onnx", "onnx-int8-dynamic", models.save(models.mlp(), tmp_path / "s"), tmp_path / "t")
    with pytest.raises(InvalidFile, match="already quantised"):
        convert("onnx", "onnx-fp16", tmp_path / "t", tmp_path / "u")
