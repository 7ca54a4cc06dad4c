"""ONNX to slimmed and float16 ONNX on tiny models: outputs against the source's, dynamic sizes, messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.convert.formats import load
from lib.errors import InvalidFile
from tests.convert import models
from tests.convert.edge_run import convert

MAKERS = [models.conv_net, models.mlp, models.attention]
SAME = {"onnx-slim": 1e-5, "onnx-fp16": 3e-3}
each_model = pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)


def both(model: ModelProto, target: str, tmp_path: Path, **options: object) -> tuple[dict, list[tuple]]:
    """What the edge said, and (source's, target's) outputs at batch 1 and 3, with padding where there is a mask."""
    folder = models.save(model, tmp_path / "source")
    said = convert("onnx", target, folder, tmp_path / "target", **options)
    ours, theirs = load("onnx", folder), load(target, tmp_path / "target")
    assert [v.name for v in theirs.signature().inputs] == [v.name for v in ours.signature().inputs]
    assert theirs.signature().symbols() == ours.signature().symbols()
    pairs = []
    for batch in (1, 3):
        given = models.inputs(model, batch, batch=batch, sequence=4 + batch)
        if "attention_mask" in given:
            given["attention_mask"][:, -2:] = 0
        want, got = ours.run(given), theirs.run(given)
        assert list(want) == list(got)
        pairs += [(want[name], got[name]) for name in want]
    return said, pairs


@each_model
@pytest.mark.parametrize("target", SAME)
@pytest.mark.parametrize("opset", [11, 17, 20])
def test_slim_and_fp16_compute_the_same(make: Callable, target: str, opset: int, tmp_path: Path) -> None:
    _, pairs = both(make(opset), target, tmp_path)
    for want, got in pairs:
        assert got.dtype == np.float32 and models.error(got, want) < SAME[target]


def test_fp16_can_take_and_give_float16(tmp_path: Path) -> None:
    folder = models.save(models.mlp(), tmp_path / "source")
    convert("onnx", "onnx-fp16", folder, tmp_path / "target", keep_io_types=False)
    runner = load("onnx-fp16", tmp_path / "target")
    assert [v.dtype for v in (*runner.signature().inputs, *runner.signature().outputs)] == ["float16", "float16"]
    given = models.inputs(models.mlp(), batch=3)
    got = runner.run({"x": given["x"].astype(np.float16)})["y"]
    assert models.error(got, load("onnx", folder).run(given)["y"]) < 3e-3


def test_fp16_says_which_weight_it_cuts(tmp_path: Path) -> None:
    model = models.mlp()
    weights = [numpy_helper.to_array(t).copy() for t in model.graph.initializer[:2]]
    weights[0][3, 5] = -1e6
    weights[1][:] = 2e-8
    for tensor, value in zip(model.graph.initializer, weights, strict=False):
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    said = convert("onnx", "onnx-fp16", models.save(model, tmp_path / "s"), tmp_path / "t")
    assert said["lost"] == [
        "The weight 'w0' [16, 32] has a number above float16's maximum, 65504, such as -1e+06 at [3, 5], and was "
        "clipped to it."
    ]
    assert said["messages"] == [
        "The weight 'b0' [32] has 32 numbers near zero that float16 cannot represent, such as 2e-08: they are only added to "
        "larger ones."
    ]


def test_fp16_of_constants_written_as_numbers(tmp_path: Path) -> None:
    f32 = TensorProto.FLOAT
    nodes = [helper.make_node("Constant", [], ["c"], value_float=0.5), helper.make_node("Mul", ["x", "c"], ["y"])]
    model = models.made(nodes, [("x", f32, ["n"])], [("y", f32, ["n"])], {}, 17)
    folder = models.save(model, tmp_path / "s")
    convert("onnx", "onnx-fp16", folder, tmp_path / "t")
    (got,) = load("onnx", tmp_path / "t").run({"x": np.array([1, 2, 3], np.float32)}).values()
    assert got.tolist() == [0.5, 1, 1.5]


def test_slim_fuses_and_says_so(tmp_path: Path) -> None:
    said, _ = both(models.conv_net(), "onnx-slim", tmp_path)
    assert said["messages"] == ["10 nodes became 8; fewer: 2 BatchNormalization."]


@pytest.mark.parametrize("target", SAME)
def test_functions_are_inlined(target: str, tmp_path: Path) -> None:
    model = with_function()
    _, pairs = both(model, target, tmp_path)
    for want, got in pairs:
        assert models.cosine(got, want) > 0.998


@pytest.mark.parametrize("target", SAME)
def test_external_data(target: str, tmp_path: Path) -> None:
    model = models.mlp()
    folder = models.save(model, tmp_path / "s", save_as_external_data=True, location="w.bin", size_threshold=0)
    convert("onnx", target, folder, tmp_path / "t")
    given = models.inputs(model, batch=3)
    want, got = load("onnx", folder).run(given)["y"], load("onnx", tmp_path / "t").run(given)["y"]
    assert models.cosine(got, want) > 0.999


@pytest.mark.parametrize("target", SAME)
def test_no_model_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"PK\3\4 something else")
    with pytest.raises(InvalidFile):
        convert("onnx", target, tmp_path, tmp_path / "t")


def with_function() -> ModelProto:
    """``mlp`` with its first layer as a function of the model's own."""
    model = models.mlp()
    body = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Add", ["m", "c"], ["o"])]
    model.functions.append(helper.make_function("own", "Layer", ["a", "b", "c"], ["o"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    del model.graph.node[:2]
    model.graph.node.insert(0, helper.make_node("Layer", ["x", "w0", "b0"], ["h0"], "layer", domain="own"))
    onnx.checker.check_model(model)
    return model
