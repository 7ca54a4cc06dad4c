"""The older exporter's opset: what it cannot write is said, not passed over."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from lib.convert.formats.onnx import files as onnx_files
from lib.convert.tools import torch_export
from lib.model_inputs.signature import Signature, Value


@pytest.mark.parametrize(("asked", "got", "said"), [("default", 18, ""), ("20", 20, ""), ("23", 20, "23 was requested")])
def test_a_lowered_opset_is_said(asked: str, got: int, said: str, tmp_path: Path) -> None:
    signature = Signature((Value("x", "float32", (2, 3)),), (Value("y", "float32", (2, 3)),))
    path = tmp_path / "model.onnx"
    messages = torch_export.trace_to_onnx(torch.nn.ReLU(), signature, path, asked)
    assert onnx_files.opset(onnx.load(path)) == got
    assert any(said in m for m in messages[1:]) if said else len(messages) == 1
