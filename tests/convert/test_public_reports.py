"""What a user gets today for models that went wrong in public reports, each rebuilt here as small as it goes.

A row is one report: what went wrong there, where it is told, the model, the target, and what is right. Wrong files are
never proven; right ones get out. Builders are in ``report_graphs.py``, ``report_int8.py`` and
``report_frameworks.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lib.convert.service.converter import Converter, Source
from tests.convert import report_frameworks as frameworks
from tests.convert import report_graphs as graphs
from tests.convert import report_int8 as int8

LARGEST = 50_000  # bytes of a model
Build = Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Row:
    """``says``: in the reason or the messages. ``waits``: why it is wrong today. ``far``: needs another environment."""

    what: str
    report: str
    build: Build
    target: str
    verdict: str = "proven"
    options: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    waits: str = ""
    far: bool = False

    def __str__(self) -> str:
        return f"{self.report}-{self.target}"


TWELVE, LATEST = {"opset": "12"}, {"opset": "21"}
BATCH = "Exported with batch = 1 fixed"
ROWS = [
    Row("constants were merged that are not equal", "onnxsim#265", graphs.equal_constants, "onnx-slim"),
    Row("slices of slices became one wrong slice", "OnnxSlim#277", graphs.slices_of_slices, "onnx-slim"),
    Row("start and end of Shape were ignored", "OnnxSlim#38", graphs.part_of_a_shape, "onnx-slim"),
    Row("operators in branches kept their old form", "onnx#3471", graphs.clip_in_a_branch, "onnx-opset"),
    Row("Softmax has no way down", "onnx#6340", graphs.softmax_of_one_axis, "onnx-opset", options=TWELVE),
    Row("bodies of local functions were lost", "onnx#4370", graphs.function_of_the_model, "onnx-opset", options=LATEST),
    Row("Resize in a Loop became invalid", "onnxruntime#17447", graphs.resize_in_a_loop, "onnx-fp16"),
    Row("an epsilon became 0", "onnxconverter-common#153", graphs.tiny_epsilon, "onnx-fp16"),
    Row("numbers were cut at 10,000", "onnxconverter-common#295", graphs.large_but_representable, "onnx-fp16"),
    Row("a bias overflowed", "onnxruntime#11415", int8.nearly_dead_channel, "onnx-int8-static"),
    Row("stacked weights were given bad zero points", "onnxruntime#25489", int8.stacked_weights, "onnx-int8-dynamic"),
    Row("Gemm with transB failed", "onnxruntime#25890", int8.tied_both_ways, "onnx-int8-dynamic"),
    Row("cast weights are no initializers", "onnxruntime#13358", int8.cast_weights, "onnx-int8-dynamic"),
    Row("one bias for two convolutions", "onnxruntime#7982", int8.one_bias_for_two, "onnx-int8-static"),
    Row("an empty tensor has no range", "onnxruntime#23600", int8.empty_slice, "onnx-int8-static"),
    Row("axes as an attribute were ignored", "openvino#38238", graphs.reductions_by_attribute, "openvino"),
    Row("Softmax of opset 11 took one axis", "openvino#37823", graphs.softmax_of_two_axes, "openvino"),
    Row("the nearest pixel was the wrong one", "openvino#36023", graphs.nearest_rounding_up, "openvino", "failed"),
    Row("whole numbers were divided as floats", "pytorch#78442", frameworks.floor_of_negatives, "onnx"),
    Row("attention without heads was refused", "pytorch#152018", frameworks.attention_without_heads, "onnx"),
    Row("an FFT with a length was wrong", "pytorch#113444", frameworks.long_convolution, "onnx"),
    Row(
        "tensors share memory",
        "safetensors#98",
        frameworks.shared_and_turned,
        "safetensors",
        says="embed.weight, head.weight",
    ),
    Row("masks were lost", "tensorflow-onnx#1871", frameworks.masked_lstm, "onnx", says=BATCH, far=True),
    Row("a Reshape of equal axes", "onnx2tf#478", graphs.all_axes_alike, "tflite", far=True),
    Row("a file that no interpreter runs", "onnx2tf#927", graphs.turned_twice, "tflite", far=True),
    Row("upsampling gave another shape", "tensorflow#45090", frameworks.resized_picture, "tflite", far=True),
    Row("dilated convolutions failed", "tensorflow#30315", frameworks.dilated_causal, "tflite", far=True),
]


@pytest.fixture(autouse=True)
def torch_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the builders that use Keras."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def parameters() -> list[Any]:
    first = {row.target: row for row in reversed(ROWS) if not row.far}  # one a target is enough for every day

    def marks(row: Row) -> list[Any]:
        waits = [pytest.mark.xfail(strict=True, reason=row.waits)] if row.waits else []
        far = [pytest.mark.timeout(1800)] if row.far else []
        return waits + far + ([] if first.get(row.target) is row else [pytest.mark.slow])

    return [pytest.param(row, id=str(row), marks=marks(row)) for row in ROWS]


@pytest.mark.parametrize("row", parameters())
def test_report(converter: Converter, row: Row, tmp_path: Path) -> None:
    path = row.build(tmp_path)
    assert path.stat().st_size < LARGEST
    samples = tmp_path / "samples.npz"
    options = row.options | ({"samples": str(samples)} if samples.exists() else {})
    (tmp_path / "out").mkdir()
    found = converter.convert(Source(files={path.name: path}), row.target, options, tmp_path / "out").result()
    report = found["report"]
    assert report["verdict"] == row.verdict, report["reason"]
    assert (found["artifact"] is not None) == (row.verdict == "proven")
    said = " ".join([report["reason"], *report["messages"]])
    assert row.says in said, said
