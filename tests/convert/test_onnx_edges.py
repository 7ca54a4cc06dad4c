"""ONNX to slimmed, float16 and int8 ONNX on tiny models: outputs against the source's, dynamic sizes, messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.convert.runners import load
from lib.errors import InvalidFile, JobFailed
from tests.convert import models
from tests.convert.edge_run import convert

MAKERS = [models.conv_net, models.mlp, models.attention]
SAME = {"onnx-slim": 1e-5, "onnx-fp16": 3e-3}
INT8 = ["onnx-int8-dynamic", "onnx-int8-static"]
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


@each_model
@pytest.mark.parametrize("target", INT8)
@pytest.mark.parametrize("per_channel", [False, True], ids=["whole", "per channel"])
def test_int8_is_close(make: Callable, target: str, per_channel: bool, tmp_path: Path) -> None:
    said, pairs = both(make(), target, tmp_path, per_channel=per_channel)
    assert any(m.startswith("Quantised operators:") for m in said["messages"])
    for want, got in pairs:
        # values beyond the calibrated range are cut off: a bit less is right for the static kind
        assert models.cosine(got, want) > (0.999 if "dynamic" in target else 0.998) and models.error(got, want) > 1e-6


@pytest.mark.parametrize("target", INT8)
def test_int8_raises_an_old_opset_and_says_so(target: str, tmp_path: Path) -> None:
    said, pairs = both(models.attention(11), target, tmp_path)
    assert any("from 11 to 13" in m for m in said["messages"])
    assert all(models.cosine(got, want) > 0.999 for want, got in pairs)


@pytest.mark.parametrize("target", INT8)
def test_int8_agrees_with_the_reference(target: str, tmp_path: Path) -> None:
    """Saturating kernels of the machine would show here: the evaluator computes in wide integers."""
    model = models.mlp()
    both(model, target, tmp_path, per_channel=True)
    runner = load(target, tmp_path / "target")
    given = models.inputs(model, batch=3)
    assert models.error(runner.run(given)["y"], runner.run_reference(given)["y"]) < 1e-3


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
        "The weight 'w0' [16, 32] has a number over float16's largest, 65504, such as -1e+06 at [3, 5], and was cut to it."
    ]
    assert said["messages"] == [
        "The weight 'b0' [32] has 32 numbers near nothing that float16 does not hold, such as 2e-08: they are only added to "
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


@pytest.mark.parametrize("target", [*SAME, *INT8])
def test_functions_are_inlined(target: str, tmp_path: Path) -> None:
    model = with_function()
    said, pairs = both(model, target, tmp_path)
    for want, got in pairs:
        assert models.cosine(got, want) > 0.998
    if target in INT8:
        assert any(m.startswith("Quantised operators:") for m in said["messages"])


@pytest.mark.parametrize("target", [*SAME, *INT8])
def test_external_data(target: str, tmp_path: Path) -> None:
    model = models.mlp()
    folder = models.save(model, tmp_path / "s", save_as_external_data=True, location="w.bin", size_threshold=0)
    convert("onnx", target, folder, tmp_path / "t")
    given = models.inputs(model, batch=3)
    want, got = load("onnx", folder).run(given)["y"], load("onnx", tmp_path / "t").run(given)["y"]
    assert models.cosine(got, want) > 0.999


@pytest.mark.parametrize("target", INT8)
def test_nothing_to_quantise_is_said(target: str, tmp_path: Path) -> None:
    f32 = TensorProto.FLOAT
    model = models.made([helper.make_node("Erf", ["x"], ["y"])], [("x", f32, ["n", 4])], [("y", f32, ["n", 4])], {}, 17)
    said, pairs = both(model, target, tmp_path)
    assert any(m.startswith("Nothing was quantised") for m in said["messages"])
    assert all(np.array_equal(want, got) for want, got in pairs)


@pytest.mark.parametrize("target", INT8)
def test_a_quantised_model_is_not_quantised_again(target: str, tmp_path: Path) -> None:
    convert("onnx", target, models.save(models.mlp(), tmp_path / "s"), tmp_path / "t")
    with pytest.raises(JobFailed, match="quantised already"):
        convert("onnx", target, tmp_path / "t", tmp_path / "again")


@pytest.mark.parametrize("target", [*SAME, *INT8])
def test_no_model_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"PK\3\4 something else")
    with pytest.raises(InvalidFile):
        convert("onnx", target, tmp_path, tmp_path / "t")


def test_random_calibration_is_said_plainly(tmp_path: Path) -> None:
    said, _ = both(models.mlp(), "onnx-int8-static", tmp_path, samples=3)
    assert said["messages"][0].startswith("Calibrated on 3 samples of random numbers, because no calibration file")


def test_calibration_from_a_file_sets_the_ranges(tmp_path: Path) -> None:
    """The same model calibrated on its real, small inputs is far better on these than calibrated on random ones."""
    model = models.mlp()
    folder, rng = models.save(model, tmp_path / "s"), np.random.default_rng(5)
    real = (0.01 * rng.standard_normal((40, 16))).astype(np.float32)
    np.savez(tmp_path / "c.npz", x=real[:32])
    said = convert("onnx", "onnx-int8-static", folder, tmp_path / "a", calibration=str(tmp_path / "c.npz"))
    assert said["messages"][0] == "Calibrated on 32 samples of the given file."
    convert("onnx", "onnx-int8-static", folder, tmp_path / "b")
    want = load("onnx", folder).run({"x": real[32:]})["y"]
    near, far = (models.error(load("onnx", tmp_path / d).run({"x": real[32:]})["y"], want) for d in "ab")
    assert near < far / 3


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros((4, 16), np.float32)}, r"arrays 'z'\. The model takes: x float32 \[batch, 16\]"),
        ({"x": np.zeros((4, 15), np.float32)}, r"'x' of the calibration file is float32 \[4, 15\]"),
        ({"x": np.zeros((4, 16), np.complex64)}, "is complex64"),
        ({"x": np.zeros((0, 16), np.float32)}, "has 0 samples"),
        ({"x": np.array([{}] * 4, object)}, "no .npz with plain arrays"),
    ],
    ids=["name", "shape", "dtype", "empty", "pickle"],
)
def test_bad_calibration(arrays: dict, words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", **arrays)
    with pytest.raises(InvalidFile, match=words):
        convert(
            "onnx",
            "onnx-int8-static",
            models.save(models.mlp(), tmp_path / "s"),
            tmp_path / "t",
            calibration=str(tmp_path / "c.npz"),
        )


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
