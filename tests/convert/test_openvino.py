"""ONNX to OpenVINO IR on tiny models, exact outputs on the CPU, names, dynamic sizes, no telemetry."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lib.convert.formats import load
from lib.errors import InvalidFile, JobFailed
from tests.convert import models
from tests.convert.edge_run import convert


@pytest.mark.parametrize("make", [models.conv_net, models.mlp, models.attention], ids=lambda m: m.__name__)
@pytest.mark.parametrize("opset", [11, 20])
def test_computes_the_same(make: Callable, opset: int, tmp_path: Path) -> None:
    model = make(opset)
    source = load("onnx", models.save(model, tmp_path / "s"))
    assert convert("onnx", "openvino", tmp_path / "s", tmp_path / "t") == {}
    target = load("openvino", tmp_path / "t")
    ours, theirs = source.signature(), target.signature()
    for a, b in zip((*ours.inputs, *ours.outputs), (*theirs.inputs, *theirs.outputs), strict=True):
        assert (a.name, a.dtype) == (b.name, b.dtype)
        assert b.shape == tuple(f"{b.name}[{k}]" if isinstance(d, str) else d for k, d in enumerate(a.shape))
    for batch in (1, 3):
        given = models.inputs(model, batch, batch=batch, sequence=4 + batch)
        if "attention_mask" in given:
            given["attention_mask"][:, -2:] = 0
        want, got = source.run(given), target.run(given)
        assert list(want) == list(got)
        for name in want:
            assert got[name].dtype == want[name].dtype and models.error(got[name], want[name]) < 1e-5
    target.close()


def test_float16_weights_are_said_and_close(tmp_path: Path) -> None:
    model = models.mlp()
    source = load("onnx", models.save(model, tmp_path / "s"))
    said = convert("onnx", "openvino", tmp_path / "s", tmp_path / "t", compress_to_fp16=True)
    assert said == {"messages": ["The weights are stored as float16."], "precision": "fp16"}
    given = models.inputs(model, batch=3)
    assert 1e-6 < models.error(load("openvino", tmp_path / "t").run(given)["y"], source.run(given)["y"]) < 3e-3


def test_external_data(tmp_path: Path) -> None:
    model = models.mlp()
    models.save(model, tmp_path / "s", save_as_external_data=True, location="w.bin", size_threshold=0)
    convert("onnx", "openvino", tmp_path / "s", tmp_path / "t")
    given = models.inputs(model)
    want = load("onnx", tmp_path / "s").run(given)["y"]
    assert models.error(load("openvino", tmp_path / "t").run(given)["y"], want) < 1e-5


def test_dtypes_and_an_output_twice(tmp_path: Path) -> None:
    """One tensor may be two outputs, and dtypes stay those of the model."""
    nodes = [
        helper.make_node("Mul", ["n", "n"], ["squared"]),
        helper.make_node("Identity", ["squared"], ["again"]),
        helper.make_node("Greater", ["n", "squared"], ["more"]),
    ]
    i64, boolean = TensorProto.INT64, TensorProto.BOOL
    outputs = [("squared", i64, ["k"]), ("again", i64, ["k"]), ("more", boolean, ["k"])]
    source = load("onnx", models.save(models.made(nodes, [("n", i64, ["k"])], outputs, {}, 17), tmp_path / "s"))
    convert("onnx", "openvino", tmp_path / "s", tmp_path / "t")
    given = {"n": np.array([-3, 0, 5], np.int64)}
    want, got = source.run(given), load("openvino", tmp_path / "t").run(given)
    assert list(want) == list(got)
    for name in want:
        assert want[name].dtype == got[name].dtype and want[name].tolist() == got[name].tolist()


def test_which_weight_float16_cuts(tmp_path: Path) -> None:
    """By the file that was made: what is stored as float32 is not lost, nor is a mask that a softmax reads."""
    f32 = TensorProto.FLOAT
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Greater", ["x", "half"], ["g"]),
        helper.make_node("Where", ["g", "a", "mask"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"]),
    ]
    weights = {"w": np.diag(np.array([1, 2, 3, -7e4], np.float32)), "half": np.float32(0.5), "mask": np.float32(-1e9)}
    model = models.made(nodes, [("x", f32, ["n", 4])], [("y", f32, ["n", 4])], weights, 17)
    said = convert("onnx", "openvino", models.save(model, tmp_path / "s"), tmp_path / "t", compress_to_fp16=True)
    (lost,) = said["lost"]
    assert (
        lost == "The weight 'w' [4, 4] has a number above float16's maximum, 65504, such as -70000 at [3, 3], and was "
        "clipped to it."
    )
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"))
    said = convert("onnx", "openvino", models.save(model, tmp_path / "u"), tmp_path / "v", compress_to_fp16=True)
    assert "lost" not in said


def test_scalars_stay_scalars(tmp_path: Path) -> None:
    f32 = TensorProto.FLOAT
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    model = models.made(nodes, [("x", f32, ["n"]), ("factor", f32, [])], [("y", f32, ["n"])], {}, 17)
    convert("onnx", "openvino", models.save(model, tmp_path / "s"), tmp_path / "t")
    found = load("openvino", tmp_path / "t").run({"x": np.array([1, 2], np.float32), "factor": np.float32(3)})
    assert found["y"].tolist() == [3, 6]


def test_no_telemetry(tmp_path: Path) -> None:
    convert("onnx", "openvino", models.save(models.mlp(), tmp_path / "s"), tmp_path / "t")
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert sys.modules["openvino_telemetry"] is None


def test_what_it_refuses(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Unheard", ["x"], ["y"], domain="nowhere")],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    odd = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("nowhere", 1)])
    with pytest.raises(JobFailed, match="OpenVINO does not support these operators: nowhere") as caught:
        convert("onnx", "openvino", models.save(odd, tmp_path / "s"), tmp_path / "t")
    assert str(tmp_path) not in caught.value.message
    convert("onnx", "openvino", models.save(models.mlp(), tmp_path / "m"), tmp_path / "n")
    runner = load("openvino", tmp_path / "n")
    with pytest.raises(JobFailed, match="OpenVINO refused"):
        runner.run({"x": np.zeros((2, 17), np.float32)})
    with pytest.raises(JobFailed, match="Missing inputs: x"):
        runner.run({})


@pytest.mark.parametrize("text", ["", "<net", "<net/>"])
def test_no_ir(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text(text)
    with pytest.raises(InvalidFile, match=r"OpenVINO cannot read model\.xml") as caught:
        load("openvino", tmp_path)
    assert str(tmp_path) not in caught.value.message
    with pytest.raises(InvalidFile, match=r"no model\.xml"):
        load("openvino", tmp_path / "nowhere")
