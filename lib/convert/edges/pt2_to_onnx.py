"""Converts an exported PyTorch program (``.pt2``) to ONNX; its dynamic dimensions stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import edge


@edge(
    "pt2",
    "onnx",
    tool="torch.onnx.export",
    precision="fp32",
    seconds=10,
    error=4e-6,
    needs=("torch", "onnxscript"),
    options=(
        Option(
            name="opset",
            title="ONNX opset",
            kind="choice",
            default="default",
            choices=("default", "18", "19", "20", "21", "22", "23"),
        ),
    ),
)
def convert(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.pt2 import files as pt2_files
    from lib.convert.tools import torch_export

    progress("Opening the program", 0.1)
    program, signature = pt2_files.load(source)
    progress("Writing ONNX", 0.4)
    return {"messages": torch_export.to_onnx(program, signature, target / "model.onnx", options["opset"])}
