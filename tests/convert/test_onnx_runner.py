"""The ONNX runner: signatures, runs against the reference evaluator, and files that it must refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lib.convert.formats import load
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Value
from tests.convert import models


@pytest.mark.parametrize("make", [models.conv_net, models.mlp, models.attention], ids=lambda m: m.__name__)
def test_agrees_with_the_reference_and_depends_on_its_inputs(make, tmp_path: Path) -> None:
    model = make()
    runner = load("onnx", models.save(model, tmp_path))
    for batch in (1, 3):
        given = models.inputs(model, batch=batch, sequence=5)
        ours, expected = runner.run(given), runner.run_reference(given)
        others = runner.run(models.inputs(model, 1, batch=batch, sequence=5))
        assert list(ours) == list(expected) == [v.name for v in model.graph.output]
        for name, value in ours.items():
            assert value.dtype == np.float32 and value.shape[0] == batch
            assert models.error(value, expected[name]) < 1e-5
            assert models.error(others[name], value) > 0.05
    runner.close()


def test_signature_of_token_ids_and_a_mask(tmp_path: Path) -> None:
    found = load("onnx", models.save(models.attention(), tmp_path)).signature()
    shape = ("batch", "sequence")
    assert found.inputs == (
        Value("input_ids", "int64", shape, "tokens", 50),
        Value("attention_mask", "int64", shape, "mask"),
    )
    assert found.outputs == (Value("logits", "float32", (*shape, 50)),)
    assert found.symbols() == shape


def _model(nodes: list, inputs: list, outputs: list, **weights: np.ndarray) -> onnx.ModelProto:
    return models.made(nodes, inputs, outputs, weights, 17)


def test_signature_names_nameless_dimensions_and_knows_an_image(tmp_path: Path) -> None:
    model = _model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, [None, 3, "2*height", 8])],
        [("y", TensorProto.FLOAT, [None, None, None, None])],
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = load("onnx", models.save(model, tmp_path)).signature()
    assert found.inputs == (Value("x", "float32", ("x[0]", 3, "2*height", 8), "image"),)
    assert found.outputs[0].shape[1:] == (3, "2*height", 8)  # inferred
    assert found.sizes == {"2*height": (8, 12, 16)}


def test_signature_leaves_out_initializers_and_bounds_an_index(tmp_path: Path) -> None:
    model = _model(
        [helper.make_node("Cast", ["which"], ["k"], to=7), helper.make_node("Gather", ["table", "k"], ["y"], axis=1)],
        [("which", TensorProto.INT32, [2]), ("table", TensorProto.FLOAT, [4, 7])],
        [("y", TensorProto.FLOAT, [4, 2])],
        table=np.ones((4, 7), np.float32),
    )
    assert load("onnx", models.save(model, tmp_path)).signature().inputs == (Value("which", "int32", (2,), "index", 7),)


def test_runs_and_describes_bfloat16(tmp_path: Path) -> None:
    import ml_dtypes

    kind = TensorProto.BFLOAT16
    model = _model([helper.make_node("Cast", ["x"], ["y"], to=kind)], [("x", TensorProto.FLOAT, [2])], [("y", kind, [2])])
    runner = load("onnx", models.save(model, tmp_path))
    assert runner.signature().outputs[0].dtype == "bfloat16"
    (value,) = runner.run({"x": np.array([1.0, 2.5], np.float32)}).values()
    assert value.dtype == ml_dtypes.bfloat16 and value.tolist() == [1.0, 2.5]


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    model = models.mlp()
    given = models.inputs(model)
    expected = load("onnx", models.save(model, tmp_path / "whole")).run(given)["y"]
    folder = models.save(model, tmp_path / "split", save_as_external_data=True, location="weights.bin", size_threshold=0)
    runner = load("onnx", folder)
    assert np.array_equal(runner.run(given)["y"], expected)
    assert models.error(runner.run_reference(given)["y"], expected) < 1e-5
    (folder / "weights.bin").unlink()
    with pytest.raises(InvalidFile, match=r"weights\.bin.*not uploaded"):
        load("onnx", folder)


def test_external_data_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 4096)
    model = models.mlp()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidFile, match=r"\.\./secret"):
        load("onnx", folder)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no model", b"\x0a\xff\xff\xff"], ids=["empty", "zip", "cut off"])
def test_no_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InvalidFile):
        load("onnx", tmp_path)


def test_what_onnxruntime_refuses_is_said_without_paths(tmp_path: Path) -> None:
    runner = load("onnx", models.save(models.mlp(), tmp_path))
    with pytest.raises(JobFailed, match="Got invalid dimensions") as caught:
        runner.run({"x": np.zeros((2, 17), np.float32)})
    assert str(tmp_path) not in caught.value.message
    graph = helper.make_graph(
        [helper.make_node("Unheard", ["x"], ["y"], domain="nowhere")],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nowhere", 1)]
    odd = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    runner = load("onnx", models.save(odd, tmp_path / "odd"))
    assert runner.signature().inputs[0].name == "x"
    with pytest.raises(JobFailed, match=r"onnxruntime refused.*Unheard") as caught:
        runner.run({"x": np.zeros(2, np.float32)})
    assert str(tmp_path) not in caught.value.message


def test_a_sequence_is_refused_clearly(tmp_path: Path) -> None:
    value = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [2])
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["s"])],
        "sequence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [value],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    runner = load("onnx", models.save(model, tmp_path))
    with pytest.raises(InvalidFile, match="'s' is a sequence"):
        runner.signature()
    with pytest.raises(JobFailed, match="only tensors"):
        runner.run({"x": np.zeros(2, np.float32)})
