"""Converts a PyTorch architecture to ONNX with torch's dynamo exporter; detection models with the TorchScript one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import edge

NOTE = "Batch and text length stay dynamic where the exporter can keep them; where it cannot, the report says so."


@edge(
    "architecture",
    "onnx",
    tool="torch.onnx.export",
    precision="fp32",
    seconds=15,
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
        Option(name="dynamic", title="Keep dynamic dimensions (where supported)", kind="bool", default=True),
    ),
    note=NOTE,
)
def convert(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.pytorch import architectures
    from lib.convert.tools import torch_export

    progress("Building the model", 0.1)
    flat, signature = architectures.load(source)
    path = target / "model.onnx"
    if flat.style == "detection":
        progress("Tracing", 0.3)
        return {"messages": torch_export.trace_to_onnx(flat, signature, path, options["opset"])}
    progress("Exporting", 0.3)
    exported = torch_export.export(flat, signature, dynamic=options["dynamic"])
    progress("Writing ONNX", 0.6)
    export_messages = torch_export.to_onnx(exported.program, signature, path, options["opset"])
    return {"messages": exported.messages + export_messages, "fixed": exported.fixed}
