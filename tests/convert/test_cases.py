"""Small models that went wrong once, each through the whole converter: what a user gets for it now.

A row is a file of ``cases``, a target with its options, and the verdict or the words of the refusal. The files are made
for this project; each stands for a kind of model that people bring.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import pytest

from lib.convert.service.converter import Converter, Source
from lib.errors import InvalidFile

CASES = Path(__file__).parent / "cases"
QUANTISED, UNKNOWN = "already quantised", "MyNMS of the domain 'mmdeploy'"
TWICE, WRONG = "two nodes are called 'n'", r"The source declares its output 'y' as float32 \[1, 7\]"


@dataclass(frozen=True, slots=True)
class Row:
    """``says``: in the reason, the blind_spots or the messages; ``refused``: in the words of the error, which is a 422."""

    file: str
    target: str
    verdict: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    refused: str = ""
    waits: str = ""  # why it fails today

    def __str__(self) -> str:
        return f"{self.file[:2]} {self.target} {' '.join(map(str, self.options.values()))}".strip()


HALF, OPSET = {"compress_to_fp16": True}, {"opset": "18"}
ROWS = [
    Row("01-fp16-cut-row-unsampled", "onnx-fp16", "unproven", says="The weight 'emb' [3000, 4] has 4 numbers above"),
    Row("01-fp16-cut-row-unsampled", "openvino", "unproven", HALF, says="The weight 'emb' [3000, 4] has 4 numbers above"),
    Row("05-slim-unnamed-dimension", "onnx-slim", "proven"),
    Row("09-loop-trip-count-input", "onnx-opset", "proven", OPSET),
    Row("10-reference-wrong-lstm-clip", "onnx-opset", "proven", OPSET),
    Row("13-constant-output", "onnx-opset", "proven", OPSET),
    Row("13-constant-output", "onnx-slim", "proven"),
    Row("14-slim-ir3-conv-bn", "onnx-slim", "proven", says="the IR version is now 4 (was 3)"),
    Row("15-slim-constant-value-float", "onnx-slim", "proven"),
    Row("18-opset6-add-broadcast-axis", "onnx-opset", "proven", OPSET, says="The opset is now 18; it was 6."),
    *(
        Row("19-lstm-sequence-lens", t, "proven", o)
        for t, o in (("onnx-opset", OPSET), ("onnx-slim", {}), ("onnx-fp16", {}))
    ),
    Row("21-openvino-local-function", "openvino", "proven"),
    Row("22-fp16-of-qdq", "onnx-fp16", refused=QUANTISED),
    *(Row("23-custom-operator", target, refused=UNKNOWN) for target in ("onnx-fp16", "onnx-opset", "onnx-slim")),
    *(Row("24-duplicate-node-names", target, refused=TWICE) for target in ("onnx-opset", "openvino")),
    *(Row("25-declared-output-wrong", target, refused=WRONG) for target in ("onnx-opset", "onnx-slim")),
    Row(
        "28-fp16-of-float64", "onnx-fp16", "proven", says="The model computes in float64; it was converted to float32 first."
    ),
    *(Row("31-metadata", t, "proven", o, says="training_info") for t, o in (("onnx-opset", OPSET), ("onnx-slim", {}))),
]


def converted(converter: Converter, row: Row, folder: Path) -> dict[str, Any]:
    path = CASES / f"{row.file}.onnx"
    return converter.convert(Source(files={path.name: path}), row.target, row.options, folder).result()


def parameters(refused: bool) -> list[Any]:
    rows = [row for row in ROWS if bool(row.refused) == refused]
    marks = [[pytest.mark.xfail(strict=True, reason=row.waits)] if row.waits else [] for row in rows]
    return [pytest.param(row, id=str(row), marks=mark) for row, mark in zip(rows, marks, strict=True)]


@pytest.mark.parametrize("row", parameters(refused=False))
def test_verdict(converter: Converter, row: Row, tmp_path: Path) -> None:
    found = converted(converter, row, tmp_path)
    report = found["report"]
    assert report["verdict"] == row.verdict, report["reason"]
    assert (found["artifact"] is not None) == (row.verdict == "proven")
    said = " ".join([report["reason"], *report["messages"]])
    assert row.says in said, said


@pytest.mark.parametrize("row", parameters(refused=True))
def test_refusal(converter: Converter, row: Row, tmp_path: Path) -> None:
    """In one sentence or two about the file, not about a tool."""
    with pytest.raises(InvalidFile, match=row.refused) as caught:
        converted(converter, row, tmp_path)
    assert "\n" not in caught.value.message and os.sep + "tmp" not in caught.value.message


@pytest.mark.parametrize("target", ["onnx-opset", "onnx-slim", "onnx-fp16"])
def test_metadata_is_kept(converter: Converter, target: str, tmp_path: Path) -> None:
    given = onnx.load(CASES / "31-metadata.onnx")
    options = OPSET if target == "onnx-opset" else {}
    found = onnx.load(converted(converter, Row("31-metadata", target, options=options), tmp_path)["artifact"])
    for name in ("domain", "model_version", "doc_string"):
        assert getattr(found, name) == getattr(given, name) and getattr(given, name), name
