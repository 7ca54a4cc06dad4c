"""Runs in LiteRT: against NumPy, on made-up and on a visitor's inputs; what is refused says what is taken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib.errors import InvalidFile, InvalidValue
from lib.tflite import metadata
from lib.tflite_inspect.feeds import SamplesFile
from lib.tflite_inspect.markdown import markdown
from lib.tflite_inspect.report import facts
from lib.tflite_inspect.run import run
from lib.tflite_inspect.summary import report
from tests.convert.tflite_models import dense
from tests.tflite.files import classifier, scores
from tests.tflite_inspect.make import Op, Tensor, weight, write


def ran(path: Path, inputs: Any = None, sizes: dict[str, int] | None = None, seed: int = 0, runs: int = 3) -> dict[str, Any]:
    return run(path, inputs, seed, runs, sizes or {}, path.parent, lambda *_: None)


def test_made_up_inputs_agree_with_numpy(tmp_path: Path) -> None:
    folder, weights, bias = dense(tmp_path)
    found = ran(folder / "model.tflite", sizes={"batch": 3})
    assert found["agree"] is True and found["litert"]["runs"] == 3 and found["reference"]["kernels"] == "reference"
    with np.load(folder / "inputs.npz") as given, np.load(folder / "outputs.npz") as made:
        assert given["x"].shape == (3, 8)
        np.testing.assert_allclose(made["y"], np.maximum(given["x"] @ weights.T + bias, 0), rtol=1e-5, atol=1e-5)
    assert found["sizes_note"].startswith("batch = 3") and found["differences"][0]["max_abs"] < 1e-5
    assert ran(folder / "model.tflite", seed=1)["outputs"] != ran(folder / "model.tflite", seed=2)["outputs"]


def test_typed_values_and_arrays(tmp_path: Path) -> None:
    folder, weights, bias = dense(tmp_path)
    path, x = folder / "model.tflite", np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    expected = np.maximum(x @ weights.T + bias, 0)
    typed = ran(path, {"x": x.tolist()})
    np.testing.assert_allclose(typed["outputs"][0]["values"], expected, rtol=1e-5, atol=1e-6)
    np.savez(tmp_path / "in.npz", x)
    np.testing.assert_allclose(ran(path, tmp_path / "in.npz")["outputs"][0]["values"], expected, rtol=1e-5, atol=1e-6)
    for wrong, words in (
        ({"z": x.tolist()}, "lack 'x'"),
        ({"x": x.tolist(), "z": 1}, "have 'z' too"),
        ({"x": [[1, 2]]}, r"float32 \[1, 2\]"),
        ({"x": "text"}, "is str"),
        ({"x": [[1], [1, 2]]}, "not an array of float32"),
    ):
        with pytest.raises(InvalidFile, match=words) as raised:
            ran(path, wrong)
        assert "The model takes: x float32 [batch, 8]" in raised.value.message


def test_a_picture_goes_in_as_the_metadata_say(tmp_path: Path) -> None:
    """Scores as NumPy computes them with mean and std of the metadata, and the label of the best."""
    weights = classifier(tmp_path / "plain.tflite")
    told = metadata.classifier(["cat", "dog", "bird", "fish"], mean=[0.0], std=[1.0])
    metadata.write(tmp_path / "plain.tflite", tmp_path / "m.tflite", told)
    Image.new("RGB", (8, 8), (250, 40, 90)).save(tmp_path / "p.png")
    found = ran(tmp_path / "m.tflite", SamplesFile(tmp_path / "p.png", "p.png"))
    expected = scores(weights, np.full((8, 8, 3), (250, 40, 90), np.uint8))
    assert found["samples"]["preprocessing"]["normalization"] == "0..255"  # a guess would be -1..1
    np.testing.assert_allclose(found["outputs"][0]["values"][0], expected, rtol=1e-4)
    best = int(expected.argmax())
    assert found["top"][0]["label"] == ["cat", "dog", "bird", "fish"][best]
    assert found["top"][0]["score"] == pytest.approx(expected[best], rel=1e-4) and len(found["top"]) == 4


def test_integers_are_compared_by_what_they_stand_for(tmp_path: Path) -> None:
    tensors = [
        Tensor("x", [1, 4], "int8", scale=[0.02], zero=[0]),
        weight("w", [3, 4], "int8", scale=[0.01], zero=[0]),
        Tensor("y", [1, 3], "int8", scale=[0.05], zero=[3]),
    ]
    path = write(tmp_path / "m.tflite", tensors, [Op("FULLY_CONNECTED", [0, 1, -1], [2], "FullyConnectedOptions")], [0], [2])
    x = np.array([[100, -50, 25, 7]], np.int8)
    found = ran(path, {"x": x.tolist()})
    real = (x * 0.02) @ (tensors[1].data.astype(float) * 0.01).T
    stored = np.clip(np.rint(real / 0.05) + 3, -128, 127)
    assert found["agree"] and np.abs(np.array(found["outputs"][0]["values"]) - stored).max() <= 1
    assert found["outputs"][0]["quantization"]["scale"] == [pytest.approx(0.05)]


def test_every_signature_is_run(tmp_path: Path) -> None:
    case = Path(__file__).parent.parent / "convert" / "cases" / "03-tflite-two-signatures.tflite"
    path = Path(shutil.copy(case, tmp_path))
    found = ran(path)
    assert found["agree"] and [v["name"] for v in found["outputs"]] == ["decode/z", "encode/y"]
    told = report(path, case.name, {})
    assert [(s["key"], s["graph"], s["macs"]) for s in told["signatures"]] == [("decode", 0, 8), ("encode", 1, 12)]
    assert "of the first graph; decode 8, encode 12" in facts(told)["MACs"]


def test_an_operator_that_nobody_has(tmp_path: Path) -> None:
    tensors = [Tensor("x", [1, 4]), Tensor("y", [1, 4])]
    path = write(tmp_path / "m.tflite", tensors, [Op("Mystery", [0], [1], custom=True)], [0], [1])
    found = ran(path)
    assert found["agree"] is None and "'Mystery'" in found["litert"]["error"] and found["outputs"] == []


def test_text_is_not_run(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tflite", [Tensor("x", [1], "string"), Tensor("y", [1])], [], [0], [1])
    with pytest.raises(InvalidFile, match="only plain tensors can be run"):
        ran(path)


def test_numbers_out_of_range(tmp_path: Path) -> None:
    path = dense(tmp_path)[0] / "model.tflite"
    for more in ({"runs": 0}, {"runs": 1001}, {"seed": -1}, {"sizes": {"width": 3}}):
        with pytest.raises(InvalidValue):
            ran(path, **more)
    with pytest.raises(InvalidValue, match="at most 1024 MB of inputs"):
        ran(path, sizes={"batch": 15_000_000 * 3})


def test_the_run_stands_in_the_markdown(tmp_path: Path) -> None:
    path = dense(tmp_path)[0] / "model.tflite"
    words = markdown(report(path, "dense.tflite", {}) | {"run": ran(path)})
    assert "LiteRT 2" in words and "and its reference kernels agree." in words and "Latency over 3 runs" in words
