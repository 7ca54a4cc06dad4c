"""ONNX to another opset: tiny models up and down, single operators whose meaning changed, and what has no way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import ModelProto, TensorProto, helper

from lib.convert.formats import load
from lib.convert.formats.onnx import files as onnx_files
from lib.errors import InvalidFile, InvalidValue, JobFailed
from tests.convert import models
from tests.convert.edge_run import convert

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.mark.parametrize("make", [models.conv_net, models.mlp, models.attention], ids=lambda m: m.__name__)
@pytest.mark.parametrize(
    "pair", [(8, 21), (11, 13), (12, 18), (13, 12), (17, 11), (18, 17), (20, 17), (21, 7), (23, 9)], ids=str
)
def test_up_and_down(make: Callable, pair: tuple[int, int], tmp_path: Path) -> None:
    found, wanted = pair
    model = make(found)
    source = load("onnx", models.save(model, tmp_path / "s"))
    said = convert("onnx", "onnx-opset", tmp_path / "s", tmp_path / "t", opset=wanted)
    assert said["messages"][0] == f"The opset is now {wanted}; it was {found}."
    assert onnx_files.opset(onnx.load(tmp_path / "t" / "model.onnx")) == wanted
    target = load("onnx-opset", tmp_path / "t")
    assert target.signature() == source.signature()
    for batch in (1, 3):
        given = models.inputs(model, batch, batch=batch, sequence=5)
        want, got = source.run(given), target.run(given)
        for name in want:
            assert models.error(got[name], want[name]) < 1e-6


def one(kind: str, opset: int, *shape: int, constants: tuple[np.ndarray, ...] = (), **attributes: Any) -> ModelProto:
    """A model of one node on ``x`` of ``shape``, float32; its constants are initializers."""
    weights = {f"c{k}": value for k, value in enumerate(constants)}
    outputs = attributes.pop("outputs", 1)
    names = [f"y{k}" for k in range(outputs)]
    node = helper.make_node(kind, ["x", *weights], names, "it", **attributes)
    held = [onnx.numpy_helper.from_array(v, n) for n, v in weights.items()]
    infos = [helper.make_empty_tensor_value_info(n) for n in names]
    graph = helper.make_graph([node], "one", [helper.make_tensor_value_info("x", F32, shape)], infos, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)  # not strict: onnx's own fails on a default of a function
    for value in inferred.graph.output:
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.elem_type:
            value.type.CopyFrom(inferred.graph.input[0].type)
    return inferred


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


SAME = {
    "softmax of a middle axis": (one("Softmax", 13, 2, 3, 4, axis=1), 11),
    "log softmax of the first axis": (one("LogSoftmax", 17, 4, 3, axis=0), 9),
    "hardmax of rows, up": (one("Hardmax", 11, 2, 3, 4, axis=1), 17),
    "softmax of rows, up": (one("Softmax", 11, 2, 3, 4, axis=1), 17),
    "mean over axes from the end": (one("ReduceMean", 18, 2, 3, 4, constants=(ints(-1, 0),), keepdims=0), 9),
    "sum over everything": (one("ReduceSum", 13, 2, 3, keepdims=0), 11),
    "sum over nothing": (one("ReduceSum", 13, 2, 3, constants=(ints(),), noop_with_empty_axes=1), 11),
    "uneven split": (one("Split", 18, 7, 2, axis=0, num_outputs=3, outputs=3), 13),
    "split with sizes": (one("Split", 13, 7, 2, constants=(ints(3, 4),), axis=-2, outputs=2), 9),
    "pad of one axis": (one("Pad", 18, 2, 3, constants=(ints(1, 2), np.float32(7), ints(-1))), 7),
    "clip": (one("Clip", 13, 2, 3, constants=(np.float32(-0.1), np.float32(0.2))), 7),
    "part of a shape": (one("Shape", 15, 2, 3, 4, 5, start=1, end=-1), 7),
    "slice from the end": (one("Slice", 13, 4, 5, constants=(ints(-3), ints(-1), ints(-1))), 9),
    "squeeze and its axes": (one("Squeeze", 13, 2, 1, 3, constants=(ints(-2),)), 9),
    "layer norm written out": (
        one("LayerNormalization", 17, 2, 8, constants=(np.full(8, 2, np.float32), np.ones(8, np.float32))),
        13,
    ),
    "a default written out": (one("MeanVarianceNormalization", 13, 2, 3, 4, 4), 7),
    "gelu written out": (one("Gelu", 20, 2, 3), 13),
    "group norm before 21": (
        one("GroupNormalization", 21, 2, 4, 3, constants=(ints(1, 2, 3, 4).astype(np.float32),) * 2, num_groups=2),
        17,
    ),
    "reshape with allowzero": (one("Reshape", 14, 2, 6, constants=(ints(3, 4),), allowzero=1), 13),
}


@pytest.mark.parametrize("name", SAME)
def test_operators_that_changed(name: str, tmp_path: Path) -> None:
    model, wanted = SAME[name]
    source = load("onnx", models.save(model, tmp_path / "s"))
    convert("onnx", "onnx-opset", tmp_path / "s", tmp_path / "t", opset=wanted)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    given = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    want, got = source.run(given), load("onnx", tmp_path / "t").run(given)
    assert list(want) == list(got)
    for k in want:
        assert want[k].dtype == got[k].dtype and want[k].shape == got[k].shape
        np.testing.assert_allclose(got[k], want[k], rtol=1e-5, atol=1e-6)


NO_WAY = {
    "new operator": (one("Trilu", 14, 3, 3), 13, "'it' is a Trilu, and the operator is new in opset 14"),
    "attribute": (one("DepthToSpace", 11, 1, 4, 2, 2, blocksize=2, mode="CRD"), 10, "its attribute mode is new in opset 11"),
    "mask": (one("Dropout", 13, 3, outputs=2), 10, "its mask"),
    "steps": (one("Slice", 10, 6, constants=(ints(0), ints(6), ints(0), ints(2))), 9, "steps other than 1"),
    "coordinates": (
        one("Resize", 11, 1, 1, 2, 2, constants=(np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32))),
        10,
        "coordinates were asymmetric",
    ),
}


@pytest.mark.parametrize("name", NO_WAY)
def test_no_way_down_is_said(name: str, tmp_path: Path) -> None:
    model, wanted, words = NO_WAY[name]
    with pytest.raises(JobFailed, match=words):
        convert("onnx", "onnx-opset", models.save(model, tmp_path / "s"), tmp_path / "t", opset=wanted)


def test_axes_that_are_computed_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], "it", keepdims=0)]
    model = models.made(nodes, [("x", F32, [2, 3]), ("axes", I64, [1])], [("y", F32, [None])], {}, 13)
    with pytest.raises(JobFailed, match="its input 2 is computed"):
        convert("onnx", "onnx-opset", models.save(model, tmp_path / "s"), tmp_path / "t", opset=11)


def test_types_that_the_older_opset_lacks_are_refused(tmp_path: Path) -> None:
    """Equal took no float numbers before opset 11."""
    boolean = TensorProto.BOOL
    model = models.made([helper.make_node("Equal", ["x", "x"], ["y"])], [("x", F32, [2])], [("y", boolean, [2])], {}, 13)
    with pytest.raises(JobFailed, match=r"invalid ONNX model.*Equal"):
        convert("onnx", "onnx-opset", models.save(model, tmp_path / "s"), tmp_path / "t", opset=7)


def test_branches_are_converted_too(tmp_path: Path) -> None:
    def branch(name: str, factor: float) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Constant", [], [f"{name}_f"], value_float=factor),
            helper.make_node("Mul", ["x", f"{name}_f"], [f"{name}_m"]),
            helper.make_node("ReduceMean", [f"{name}_m", "axes"], [f"{name}_y"], keepdims=1),
        ]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}_y", F32, [2, 1])])

    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "limit"], ["more"]),
        helper.make_node("If", ["more"], ["y"], then_branch=branch("a", 2.0), else_branch=branch("b", -1.0)),
    ]
    weights = {"axes": ints(-1), "limit": np.float32(1)}
    model = models.made(nodes, [("x", F32, [2, 3])], [("y", F32, [2, 1])], weights, 18)
    source = load("onnx", models.save(model, tmp_path / "s"))
    for opset in (11, 21):
        convert("onnx", "onnx-opset", tmp_path / "s", tmp_path / str(opset), opset=opset)
        target = load("onnx", tmp_path / str(opset))
        for top in (0.5, 2.0):
            given = {"x": np.array([[top, 0.1, 0.2], [0.3, 0.4, 0.5]], np.float32)}
            np.testing.assert_allclose(target.run(given)["y"], source.run(given)["y"], rtol=1e-6)


def test_an_opset_that_nobody_runs(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="the newest that the installed onnxruntime runs"):
        convert("onnx", "onnx-opset", models.save(models.mlp(), tmp_path / "s"), tmp_path / "t", opset=99)


@pytest.mark.parametrize("wanted", [11, 21])
def test_big_weights_and_external_data_come_through_unchanged(wanted: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((64, 64)).astype(np.float32)}
    model = models.made(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", F32, ["n", 64])], [("y", F32, ["n", 64])], weights, 17
    )
    models.save(model, tmp_path / "s", save_as_external_data=True, location="w.bin", size_threshold=0)
    convert("onnx", "onnx-opset", tmp_path / "s", tmp_path / "t", opset=wanted)
    out = onnx.load(tmp_path / "t" / "model.onnx")
    assert [v.name for v in out.graph.input] == ["x"]
    assert np.array_equal(onnx.numpy_helper.to_array(out.graph.initializer[0]), weights["w"])


def test_a_step_never_takes_a_name_that_the_model_has() -> None:
    """Its own initializer, and a value inside a branch, are called as a step down would call what it adds."""
    from lib.convert.formats.onnx.opset import convert as opset

    k64 = onnx.numpy_helper.from_array(np.array([100], np.int64), "opset_constant_2")
    inner = helper.make_graph(
        [helper.make_node("Identity", ["opset_constant_2"], ["opset_constant_1"])],
        "inner",
        [],
        [helper.make_tensor_value_info("opset_constant_1", I64, [1])],
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=1),
        helper.make_node("If", ["yes"], ["c"], then_branch=inner, else_branch=inner),
        helper.make_node("Add", ["s", "c"], ["opset_shape_1"]),
        helper.make_node("Cast", ["opset_shape_1"], ["y"], to=F32),
    ]
    yes = onnx.numpy_helper.from_array(np.array(True), "yes")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", F32, [2, 3, 4])],
        [helper.make_tensor_value_info("y", F32, [2])],
        [k64, yes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    for wanted in (14, 13):
        model = opset.convert(model, wanted)
        onnx.checker.check_model(model, full_check=True)
        names = [t.name for t in model.graph.initializer] + [n for node in model.graph.node for n in node.output]
        assert len(set(names)) == len(names)
        found = onnx.reference.ReferenceEvaluator(model).run(None, {"x": np.zeros((2, 3, 4), np.float32)})[0]
        assert found.tolist() == [103, 104]


def test_other_repairs_take_no_name_twice_either() -> None:
    from lib.convert.formats.onnx.opset import convert as opset
    from lib.convert.tools import onnx2tf as onnx2tf_tool

    model = one("Hardmax", 11, 2, 3, 4, axis=1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "opset_flat_y0"))
    onnx.checker.check_model(opset.convert(model, 17), full_check=True)
    model = one("Relu", 17, 2, 3, 4)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", F32, [2, 3, 4]))
    held = ("kept_order_0_list", "kept_order_0_shape", "kept_order_0_flat", "y0_inner")
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.float32(1), name) for name in held)
    made = onnx2tf_tool.prepared(model, {})
    onnx.checker.check_model(made, full_check=True)
    given = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    found = onnx.reference.ReferenceEvaluator(made).run(None, {"x": given})[0]
    assert np.array_equal(found, np.maximum(given, 0))


def test_operators_left_by_tf2onnx_are_written_out_under_free_names() -> None:
    from lib.convert.tools.tf2onnx import _fix_operators

    nodes = [
        helper.make_node("TFL_RELU_0_TO_1", ["x"], ["a"]),
        helper.make_node("TFL_RELU_0_TO_1", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "relu_low"], ["y"]),
    ]
    held = [onnx.numpy_helper.from_array(np.float32(5), "relu_low")]
    ends = [helper.make_tensor_value_info(n, F32, [3]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    _fix_operators(graph)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    given = np.array([-1, 0.5, 2], np.float32)
    assert onnx.reference.ReferenceEvaluator(model).run(None, {"x": given})[0].tolist() == [0, 2.5, 5]


OLD = {
    "a bias of the channels": ("Add", [2, 3, 4, 5], [3], {"axis": 1, "broadcast": 1}),
    "the last dimensions": ("Mul", [2, 3, 4], [3, 4], {"broadcast": 1}),
    "dimensions in the middle": ("Sub", [2, 3, 4, 5], [3, 4], {"axis": -3, "broadcast": 1}),
    "one number": ("Div", [2, 3], [1], {"broadcast": 1}),
    "equal shapes": ("Pow", [2, 3], [2, 3], {}),
    "a comparison": ("Greater", [2, 3, 4], [2], {"axis": 0, "broadcast": 1}),
}


def old(kind: str, first: list[int], second: list[int], how: dict[str, int], weight: bool) -> ModelProto:
    """``a`` and ``b``, which is a weight or an input -> ``y``, in opset 6."""
    b = np.random.default_rng(1).uniform(0.5, 2, second).astype(np.float32)
    values = [helper.make_tensor_value_info("a", F32, first), helper.make_tensor_value_info("b", F32, second)]
    out = helper.make_tensor_value_info("y", TensorProto.BOOL if kind == "Greater" else F32, first)
    held = [onnx.numpy_helper.from_array(b, "b")] if weight else []
    graph = helper.make_graph([helper.make_node(kind, ["a", "b"], ["y"], **how)], "old", values, [out], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)


@pytest.mark.parametrize("weight", [True, False], ids=["weight", "input"])
@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize("wanted", [7, 17])
def test_broadcasting_before_opset_7(name: str, weight: bool, wanted: int, tmp_path: Path) -> None:
    kind, first, second, how = OLD[name]
    source = load("onnx", models.save(old(kind, first, second, how, weight), tmp_path / "s"))
    said = convert("onnx", "onnx-opset", tmp_path / "s", tmp_path / "t", opset=wanted)
    assert said["messages"][0] == f"The opset is now {wanted}; it was 6."
    target, rng = load("onnx", tmp_path / "t"), np.random.default_rng(2)
    given = {"a": rng.uniform(0.5, 2, first).astype(np.float32)}
    if not weight:
        given["b"] = rng.uniform(0.5, 2, second).astype(np.float32)
    # the axis, by numpy: ones behind the second shape
    b = given.get("b", np.random.default_rng(1).uniform(0.5, 2, second).astype(np.float32))
    if "axis" in how:
        b = b.reshape(second + [1] * (len(first) - how["axis"] % len(first) - len(second)))
    numpy = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract, "Div": np.divide, "Pow": np.power, "Greater": np.greater}
    want = numpy[kind](given["a"], b)
    for runner in (source, target):
        np.testing.assert_allclose(runner.run(given)["y"], want, rtol=1e-6)


def test_an_unknown_rank_before_opset_7(tmp_path: Path) -> None:
    model = old("Add", [2, 3], [2], {"axis": 0, "broadcast": 1}, weight=True)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(JobFailed, match="'y' broadcasts along an axis, and the rank of its input is unknown"):
        convert("onnx", "onnx-opset", models.save(model, tmp_path / "s"), tmp_path / "t")


def test_no_operators_of_ai_onnx(tmp_path: Path) -> None:
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])
    infos = [[helper.make_tensor_value_info(n, F32, [1, 1])] for n in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", *infos), opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)])
    with pytest.raises(InvalidFile, match="has no opset to change"):
        convert("onnx", "onnx-opset", models.save(model, tmp_path / "s"), tmp_path / "t")
