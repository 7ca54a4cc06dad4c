"""TensorFlow Lite: verified reading, the runner, float16 and int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.convert.formats import load
from lib.errors import InvalidFile, JobFailed
from lib.tflite import file as tflite_file
from tests.convert.edge_run import convert
from tests.convert.tflite_models import dense


def test_the_runner_computes_what_the_file_says(tmp_path: Path) -> None:
    folder, weights, bias = dense(tmp_path / "a")
    runner = load("tflite", folder)
    signature = runner.signature()
    assert [(v.name, v.dtype, v.shape) for v in signature.inputs] == [("x", "float32", ("batch", 8))]
    assert [(v.name, v.dtype, v.shape) for v in signature.outputs] == [("y", "float32", ("batch", 4))]
    for batch in (1, 3, 1):
        x = np.random.default_rng(batch).standard_normal((batch, 8)).astype(np.float32)
        np.testing.assert_allclose(runner.run({"x": x})["y"], np.maximum(x @ weights.T + bias, 0), rtol=1e-5, atol=1e-5)
    runner.close()


def test_an_output_survives_the_next_run(tmp_path: Path) -> None:
    runner = load("tflite", dense(tmp_path / "a")[0])
    first = runner.run({"x": np.ones((2, 8), np.float32)})["y"]
    kept = first.copy()
    runner.run({"x": np.zeros((2, 8), np.float32)})
    assert (first == kept).all()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "did not get its input 'x'"),
        ({"x": np.ones((1, 8))}, "takes float32"),
        ({"x": np.ones((1, 7), np.float32)}, "it got float32 [1, 7]"),
        ({"x": np.ones((3, 8), np.float32)}, "takes float32 [1, 8]"),
    ],
)
def test_other_inputs_are_refused(tmp_path: Path, inputs: dict[str, np.ndarray], said: str) -> None:
    runner = load("tflite", dense(tmp_path / "a", free=False)[0])
    with pytest.raises(JobFailed) as caught:
        runner.run(inputs)
    assert said in caught.value.message


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    """The flatbuffer's root stands near its end and its weights near the start, so nothing can be cut off."""
    folder, *_ = dense(tmp_path / "a", width=4)
    path = folder / tflite_file.NAME
    whole = path.read_bytes()
    tflite_file.read(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidFile):
            tflite_file.read(path)


def test_flipped_bytes_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    folder, *_ = dense(tmp_path / "a", width=4)
    path, rng, refused = folder / tflite_file.NAME, np.random.default_rng(0), 0
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(600):
        data = whole.copy()
        data[rng.integers(0, len(data), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        try:
            tflite_file.read(path)
        except InvalidFile as error:
            refused += 1
            assert str(tmp_path) not in error.message
    assert 100 < refused < 600


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is too short"),
        (b"\x00" * 40, "identifier TFL3"),
        (b"PK\x03\x04" + b"x" * 40, "identifier TFL3"),
        (b"\xff\xff\xff\x7fTFL3" + b"\x00" * 40, "damaged"),
        (b"\x08\x00\x00\x00TFL3" + b"\x00" * 40, "damaged"),
    ],
)
def test_what_is_no_such_file(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / tflite_file.NAME).write_bytes(data)
    with pytest.raises(InvalidFile, match=said):
        load("tflite", tmp_path)


def test_an_index_out_of_range_is_refused(tmp_path: Path) -> None:
    folder, *_ = dense(tmp_path / "a")
    path = folder / tflite_file.NAME
    data = path.read_bytes()
    wrong = np.array([0, 1, 2], "<i4").tobytes()
    assert data.count(wrong) == 1
    path.write_bytes(data.replace(wrong, np.array([0, 1, 99], "<i4").tobytes()))
    with pytest.raises(InvalidFile, match="an operator's input does not exist"):
        load("tflite", folder)


def outputs(folder: Path, x: np.ndarray) -> np.ndarray:
    runner = load("tflite", folder)
    try:
        return runner.run({"x": x})["y"]
    finally:
        runner.close()


@pytest.mark.parametrize("target", ["tflite-fp16", "tflite-int8"])
def test_smaller_weights_keep_float_ends(tmp_path: Path, target: str) -> None:
    folder, *_ = dense(tmp_path / "a", width=512)
    said = convert("tflite", target, folder, tmp_path / "b")
    assert any("float16" in m if target == "tflite-fp16" else "int8" in m for m in said["messages"])
    x = np.random.default_rng(5).standard_normal((3, 512)).astype(np.float32)
    source, made = outputs(folder, x), outputs(tmp_path / "b", x)
    assert made.dtype == np.float32 and made.shape == (3, 4)
    error = np.abs(source - made).max() / np.ptp(source)
    assert 0 < error < (2e-3 if target == "tflite-fp16" else 0.03)
    sizes = [(f / tflite_file.NAME).stat().st_size for f in (folder, tmp_path / "b")]
    assert sizes[1] < sizes[0]
