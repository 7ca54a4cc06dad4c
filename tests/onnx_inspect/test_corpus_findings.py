"""What ONNX's backend corpus found in the inspector (``test_corpus.py``), each in a small model of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from lib.errors import JobFailed
from lib.onnx_inspect.run import run
from lib.onnx_inspect.summary import summarise
from lib.onnx_model.open import open_model
from lib.reports.outputs import save

Execute = Callable[..., dict[str, Any]]
PLAIN = {1: np.dtype("V1"), 2: np.dtype("V2")}


@pytest.fixture
def execute(tmp_path: Path) -> Execute:
    """Runs ONNX text on ``inputs``; files are in ``tmp_path``."""

    def call(text: str, **inputs: np.ndarray) -> dict[str, Any]:
        onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
        np.savez(tmp_path / "given.npz", **inputs)
        model = open_model(tmp_path / "model.onnx", {})
        return run(model, tmp_path / "given.npz", 0, 1, {}, tmp_path, lambda *_: None)

    return call


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8e4m3fn", ml_dtypes.float8_e4m3fn),
        ("float8e5m2", ml_dtypes.float8_e5m2),  # numpy.savez writes this one so that numpy.load cannot read it
    ],
)
def test_dtypes_that_numpy_does_not_have_go_in_and_come_out(name: str, dtype: type, execute: Execute, tmp_path: Path):
    given = np.array([1.5, -2.0, 0.25]).astype(dtype)
    text = f'<ir_version: 10, opset_import: ["" : 21]> g ({name}[n] x) => ({name}[n] y, float[n] z) '
    result = execute(text + "{ y = Identity(x)  z = Cast<to=1>(x) }", x=given.view(PLAIN[given.itemsize]))
    assert "error" not in result["onnxruntime"]
    assert result["agree"] is True
    assert result["outputs"][0]["dtype"] == given.dtype.name
    for file in ("inputs", "outputs", "reference"):
        with np.load(tmp_path / f"{file}.npz") as found:
            np.testing.assert_array_equal(found["x" if file == "inputs" else "y"].view(dtype), given)


def test_four_bits_are_packed_and_unpacked(execute: Execute, tmp_path: Path):
    given = np.array([-8, 7, 3, -1, 2]).astype(ml_dtypes.int4)
    text = """<ir_version: 10, opset_import: ["" : 21]> g (int4[n] x, float s) => (float[n] y, int4[n] z)
      { y = DequantizeLinear(x, s)  z = QuantizeLinear<output_dtype=22>(y, s) }"""
    result = execute(text, x=given.view("V1"), s=np.array(0.5, np.float32))
    assert result["agree"] is True
    with np.load(tmp_path / "outputs.npz") as found:
        np.testing.assert_array_equal(found["y"], given.astype(np.float32) / 2)
        np.testing.assert_array_equal(found["z"].view(ml_dtypes.int4), given)


def test_an_output_may_have_the_name_of_a_parameter_of_savez(execute: Execute, tmp_path: Path):
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (float[n] file) { file = Neg(x) }'
    execute(text, x=np.ones(2, np.float32))
    with np.load(tmp_path / "outputs.npz") as found:
        np.testing.assert_array_equal(found["file"], [-1, -1])


def test_outputs_that_cannot_be_written_are_an_error_and_not_left_out(tmp_path: Path):
    with pytest.raises(JobFailed, match=r"outputs\.npz could not be written: .*No such file"):
        save(tmp_path / "gone" / "outputs.npz", {"y": np.ones(2)})


def test_the_reference_has_its_own_file_also_where_onnxruntime_refuses(execute: Execute, tmp_path: Path):
    """onnxruntime knows no operator of this domain."""
    text = """<ir_version: 10, opset_import: ["" : 21, "ai.onnx.preview.training" : 1]>
      g (float r, int64 t, float[n] x, float[n] d, float[n] v) => (float[n] y, float[n] w)
      { y, w = ai.onnx.preview.training.Momentum
          <alpha=0.5, beta=1.0, mode="standard", norm_coefficient=0.0> (r, t, x, d, v) }"""
    one = np.ones(2, np.float32)
    result = execute(text, r=np.array(1, np.float32), t=np.array(0), x=one, d=one, v=one)
    assert "not a registered" in result["onnxruntime"]["error"]
    with np.load(tmp_path / "reference.npz") as found:
        np.testing.assert_allclose(found["y"], [-0.5, -0.5])


@pytest.mark.parametrize("opset", [7, 9, 13, 14])
def test_the_reference_takes_batch_normalization_of_any_opset_as_inference(opset: int, execute: Execute):
    rng = np.random.default_rng(0)
    x, three = rng.standard_normal((2, 3, 4, 4)), np.array([1, 2, 3])
    text = f"""<ir_version: 6, opset_import: ["" : {opset}]>
      g (float[2,3,4,4] x, float[3] s, float[3] b, float[3] m, float[3] v) => (float[2,3,4,4] y)
      {{ y = BatchNormalization(x, s, b, m, v) }}"""
    result = execute(text, **{n: a.astype(np.float32) for n, a in zip("xsbmv", [x, *[three] * 4], strict=True)})
    assert result["agree"] is True


@pytest.mark.parametrize("axis", ["", "<axis=0>", "<axis=2>", "<axis=-2>"])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
def test_the_reference_flattens_what_older_opsets_flatten(operator: str, axis: str, execute: Execute):
    text = f'<ir_version: 6, opset_import: ["" : 11]> g (float[2,3,4] x) => (float[2,3,4] y) {{ y = {operator}{axis}(x) }}'
    result = execute(text, x=np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32))
    assert result["agree"] is True


def test_mean_variance_normalization_without_axes_is_valid(tmp_path: Path):
    text = '<ir_version: 8, opset_import: ["" : 13]> g (float[2,3,4,5] x) => (float[2,3,4,5] y)'
    model = onnx.parser.parse_model(text + "{ y = MeanVarianceNormalization(x) }")
    onnx.save(model, tmp_path / "model.onnx")
    report = summarise(open_model(tmp_path / "model.onnx", {}), "model.onnx", {}, tmp_path)
    assert report.valid, report.problems
    with pytest.raises(Exception, match="Constant"):  # onnx's own mistake; when this passes, check.py can forget it
        onnx.checker.check_model(model, full_check=True)
