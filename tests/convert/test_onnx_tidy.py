"""What every ONNX edge may take for granted: order, names, imports, constants; and what a file says of itself, kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.convert.formats import load
from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx import metadata as onnx_metadata
from lib.convert.formats.onnx import names as onnx_names
from lib.convert.formats.onnx import order as onnx_order
from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.onnx_model.signature import signature
from tests.convert import models
from tests.convert.edge_run import convert
from tests.convert.test_onnx_float16 import with_if

F32 = TensorProto.FLOAT
N = helper.make_node


def test_an_order_that_sees_what_branches_read() -> None:
    model = with_if()
    kinds = [n.op_type for n in model.graph.node]
    assert kinds == ["ReduceSum", "Greater", "If", "Neg"]
    onnx_order.sort(model.graph)
    assert [n.op_type for n in model.graph.node] == ["ReduceSum", "Greater", "Neg", "If"]
    onnx.checker.check_model(model, full_check=True)


def test_nodes_in_order_stay_where_they_are() -> None:
    model = models.attention()
    before = model.SerializeToString()
    onnx_order.sort(model.graph)
    assert model.SerializeToString() == before


def test_a_circle_is_named() -> None:
    graph = helper.make_graph([N("Neg", ["a"], ["b"], "first"), N("Neg", ["b"], ["a"], "second")], "round", [], [])
    with pytest.raises(onnx_order.Circle, match="'first'"):
        onnx_order.sort(graph)


def test_imports_and_names() -> None:
    """No import of ai.onnx, one by its long name, one twice: what tools write and trip over."""
    model = models.mlp()
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in (("ai.onnx.ml", 1), ("ai.onnx", 17), ("", 17)))
    model.graph.node[0].domain = "ai.onnx"
    for node in model.graph.node:
        node.name = "same"
    onnx_tidy.tidy(model)
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 17), ("ai.onnx.ml", 1)}
    assert len({n.name for n in model.graph.node}) == len(model.graph.node)
    onnx.checker.check_model(model, full_check=True)
    learned = ModelProto(ir_version=4, opset_import=[helper.make_opsetid("ai.onnx.ml", 1)], graph=model.graph)
    onnx_tidy.tidy(learned)
    assert onnx_files.opset(learned) == 9  # the newest of IR version 4


@pytest.mark.parametrize("dimension", ["?", "", "-1", "None", "*", -1])
def test_dimensions_without_a_name_are_not_one(dimension: str | int, tmp_path: Path) -> None:
    """Height and width that both are "?" may differ: in the signature, and after slimming."""
    value = helper.make_tensor_value_info("x", F32, [dimension, 3, dimension, dimension])
    out = helper.make_tensor_value_info("y", F32, [dimension, dimension])
    nodes = [
        N("Shape", ["x"], ["shape"]),
        N("Gather", ["shape", "two"], ["height"]),
        N("Gather", ["shape", "three"], ["width"]),
        N("Sub", ["height", "width"], ["difference"]),
        N("Cast", ["difference"], ["number"], to=F32),
        N("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        N("Unsqueeze", ["mean", "one"], ["m"]),
        N("Add", ["m", "number"], ["y"]),
    ]
    held = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in (("one", [1]), ("two", 2), ("three", 3))]
    model = helper.make_model(
        helper.make_graph(nodes, "sizes", [value], [out], held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    assert signature(model).symbols() == ("x[0]", "x[2]", "x[3]")
    folder = models.save(model, tmp_path / "s")
    convert("onnx", "onnx-slim", folder, tmp_path / "t")
    given = {"x": np.zeros((2, 3, 5, 9), np.float32)}
    assert load("onnx", tmp_path / "t").run(given)["y"].tolist() == [[-4.0], [-4.0]]


def test_symbols_are_symbols() -> None:
    assert signature(models.attention()).symbols() == ("batch", "sequence")
    model = models.mlp(batch="unk__12")
    assert signature(model).symbols() == ("unk__12",)


def test_numbers_are_tensors() -> None:
    nodes = [
        N("Constant", [], ["a"], value_float=2.5),
        N("Constant", [], ["b"], value_ints=[1, 2]),
        N("Constant", [], ["c"], value_floats=[1.0, 2.0]),
        N("Constant", [], ["d"], value_int=3),
    ]
    model = helper.make_model(helper.make_graph(nodes, "numbers", [], []), opset_imports=[helper.make_opsetid("", 17)])
    onnx_tidy.tidy(model)
    found = [numpy_helper.to_array(n.attribute[0].t) for n in model.graph.node]
    assert [(v.dtype.name, v.tolist()) for v in found] == [
        ("float32", 2.5),
        ("int64", [1, 2]),
        ("float32", [1.0, 2.0]),
        ("int64", 3),
    ]


def test_stale_types_go_and_true_ones_stay() -> None:
    model = models.mlp()
    model.graph.value_info.append(helper.make_tensor_value_info("h0", F32, ["batch", 32]))
    assert len(onnx_tidy.tidy(model).graph.value_info) == 1
    model.graph.value_info.append(helper.make_tensor_value_info("h1", F32, [7, 7, 7]))
    assert not onnx_tidy.tidy(model).graph.value_info


def test_weights_among_the_inputs(tmp_path: Path) -> None:
    model = models.mlp(8)
    model.ir_version = 3
    model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer)
    folder = models.save(model, tmp_path / "s")
    given = models.inputs(models.mlp(8), batch=3)
    want = load("onnx", folder).run(given)["y"]
    for target in ("onnx-slim", "onnx-fp16"):
        said = convert("onnx", target, folder, tmp_path / target)
        assert any("the IR version is now 4 (was 3)" in m for m in said["messages"])
        found = onnx.load(tmp_path / target / "model.onnx")
        assert [v.name for v in found.graph.input] == ["x"]
        assert models.error(load("onnx", tmp_path / target).run(given)["y"], want) < 3e-3


@pytest.mark.parametrize("target", ["onnx-slim", "onnx-opset", "onnx-fp16"])
def test_what_a_file_says_of_itself(target: str, tmp_path: Path) -> None:
    model = models.conv_net(15)
    model.producer_name, model.producer_version, model.domain = "mine", "1.2", "org.example"
    model.model_version, model.doc_string = 7, "What it is for."
    model.metadata_props.add(key="classes", value="cat,dog")
    model.graph.doc_string, model.graph.input[0].doc_string = "the graph", "pictures in 0..1"
    model.training_info.add()
    folder = models.save(model, tmp_path / "s")
    said = convert("onnx", target, folder, tmp_path / "t")
    assert "The file's training part (training_info) was left out." in said["messages"]
    found = onnx.load(tmp_path / "t" / "model.onnx")
    for name in onnx_metadata.OF_MODEL:
        assert getattr(found, name) == getattr(model, name), name
    assert ("classes", "cat,dog") in [(p.key, p.value) for p in found.metadata_props]
    assert (found.graph.name, found.graph.doc_string) == ("tiny", "the graph")
    assert found.graph.input[0].doc_string == "pictures in 0..1"
    assert not found.training_info
    onnxruntime.InferenceSession(str(tmp_path / "t" / "model.onnx"), providers=["CPUExecutionProvider"])


def test_renaming_reaches_sparse_weights() -> None:
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 5], np.int64), "places")
    graph = helper.make_graph([N("MatMul", ["x", "w"], ["y"])], "sparse", [], [])
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 4]))
    onnx_names.rename(graph, {"w": "weight"})
    assert graph.node[0].input[1] == graph.sparse_initializer[0].values.name == "weight"
