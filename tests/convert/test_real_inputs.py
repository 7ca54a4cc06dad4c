"""A conversion with the visitor's own samples: trained models, real inputs, and what they show that made-up ones cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from lib.convert.service.converter import Converter, Source
from lib.errors import InvalidFile, InvalidValue


def classifier(weights: np.ndarray, bias: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> onnx.ModelProto:
    """``pixels`` [batch, n] -> (x - mean) / deviation -> Gemm -> ``logits``."""
    held = {"mean": scale[0], "deviation": scale[1], "w": weights, "b": bias}
    nodes = [
        helper.make_node("Sub", ["pixels", "mean"], ["centred"], "centre"),
        helper.make_node("Div", ["centred", "deviation"], ["scaled"], "scale"),
        helper.make_node("Gemm", ["scaled", "w", "b"], ["logits"], "head"),
    ]
    given = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", len(weights)])]
    out = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weights.shape[1]])]
    initializers = [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in held.items()]
    graph = helper.make_graph(nodes, "classifier", given, out, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def trained(folder: Path, *, thousands: bool) -> tuple[Source, Path]:
    """Logistic regression on scanned digits, and its samples. ``thousands``: the pixels come as 60000 + pixel."""
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32) + (60000 if thousands else 0)
    mean, deviation = x.mean(0), x.std(0) + 0.5
    fitted = LogisticRegression(max_iter=400).fit((x[:1000] - mean) / deviation, y[:1000])
    model = classifier(fitted.coef_.T, fitted.intercept_, (mean, deviation))
    (folder / "digits.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "held out.npz", pixels=x[1000:1200], labels=y[1000:1200])
    return Source(files={"digits.onnx": folder / "digits.onnx"}), folder / "held out.npz"


def convert(converter: Converter, source: Source, target: str, folder: Path, **options: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return converter.convert(source, target, options, folder).result()


def test_samples_prove_a_good_float16_file(converter: Converter, tmp_path: Path) -> None:
    source, samples = trained(tmp_path, thousands=False)
    report = convert(converter, source, "onnx-fp16", tmp_path / "out", samples=str(samples))["report"]
    assert report["verdict"] == "proven", report["reason"]
    assert report["faithful"]["method"] == "emulation"
    quality = report["quality"]
    assert (quality["on"], quality["metric"], quality["count"]) == ("samples", "top-1 agreement", 200)
    assert quality["accuracy_before"] > 0.9 and quality["accuracy_after_interval"][0] > 0.85
    assert quality["mcnemar_p"] > 0.05
    assert (report["samples"]["name"], report["samples"]["count"], report["samples"]["labels"]) == (
        "held out.npz",
        200,
        True,
    )
    assert report["options"]["samples"] == "held out.npz"
    assert "same top class on" in report["summary"] and "size" in report["summary"]


def test_samples_fail_a_float16_file_that_loses_its_accuracy(converter: Converter, tmp_path: Path) -> None:
    """Float16 has steps of 32 at 60000: what the digits differ in is gone."""
    source, samples = trained(tmp_path, thousands=True)
    found = convert(converter, source, "onnx-fp16", tmp_path / "out", samples=str(samples))
    assert found["report"]["verdict"] == "failed"
    quality = found["report"]["quality"]
    assert quality["accuracy_after"] < quality["accuracy_before"] - 0.03
    assert "Not good enough on the samples" in found["report"]["reason"]
    assert found["artifact"] is None
    assert Path(found["withheld"]["artifact"]).name == "digits-fp16.unproven.onnx"
    assert found["report"]["remedies"]


def test_without_samples_it_is_not_proven(converter: Converter, tmp_path: Path) -> None:
    source, _ = trained(tmp_path, thousands=True)
    report = convert(converter, source, "onnx-fp16", tmp_path / "out")["report"]
    assert report["verdict"] != "proven", report["reason"]


@pytest.mark.slow
def test_ranges_of_made_up_inputs_prove_nothing_and_those_of_samples_do(converter: Converter, tmp_path: Path) -> None:
    source, samples = trained(tmp_path, thousands=False)
    without = convert(converter, source, "onnx-int8-static", tmp_path / "a")["report"]
    assert without["verdict"] != "proven"
    assert any("samples" in remedy["text"] for remedy in without["remedies"])
    report = convert(converter, source, "onnx-int8-static", tmp_path / "b", samples=str(samples))["report"]
    assert report["verdict"] == "proven", report["reason"]
    assert report["samples"]["calibration"] == report["samples"]["judged"] == 100
    assert report["samples"]["shared"] == 0
    assert report["quality"]["count"] == 100


@pytest.mark.parametrize(
    ("name", "arrays", "says"),
    [
        ("bad.npz", {"pixel": np.zeros((3, 64), np.float32)}, "pixels"),
        ("bad.npz", {"pixels": np.zeros((3, 63), np.float32)}, "64"),
        ("bad.npz", {"pixels": np.zeros((0, 64), np.float32)}, "sample"),
    ],
)
def test_bad_samples_are_the_visitors_fault(
    converter: Converter, tmp_path: Path, name: str, arrays: dict[str, np.ndarray], says: str
) -> None:
    source, _ = trained(tmp_path, thousands=False)
    np.savez(tmp_path / name, **arrays)
    with pytest.raises(InvalidFile, match=says):
        convert(converter, source, "onnx-fp16", tmp_path / "out", samples=str(tmp_path / name))


def test_sizes_are_taken_and_wrong_ones_named(converter: Converter, tmp_path: Path) -> None:
    source, _ = trained(tmp_path, thousands=False)
    report = convert(converter, source, "onnx-opset", tmp_path / "out", sizes="batch=5")["report"]
    assert report["sizes"] == {"batch": 5} and report["verdict"] == "proven"
    with pytest.raises(InvalidValue, match="dynamic dimensions: batch"):
        convert(converter, source, "onnx-opset", tmp_path / "b", sizes={"bath": 5})
    with pytest.raises(InvalidValue, match="min_agreement"):
        convert(converter, source, "onnx-fp16", tmp_path / "b", min_agreement=7)
