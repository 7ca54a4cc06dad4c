"""Keras 3 to ONNX on Keras' torch backend, by torch's dynamo exporter: no TensorFlow is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge


@edge(
    "keras",
    "onnx",
    tool="Keras (torch backend), torch.onnx.export",
    precision="fp32",
    seconds=12,
    error=3e-6,
    needs=("keras", "torch", "onnxscript"),
    options=(
        Option(
            name="opset",
            title="ONNX opset",
            kind="choice",
            default="default",
            choices=("default", "18", "19", "20", "21", "22", "23"),
        ),
    ),
    note="Pictures stay channels-last, as Keras has them. Free dimensions stay free where the exporter can keep them.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert import keras_models, onnx_files, torch_export

    progress("Loading the model", 0.1)
    model = keras_models.load(source, "torch")
    signature = keras_models.signature(model)
    progress("Exporting", 0.3)
    exported = torch_export.export(keras_models.module(model), signature)
    progress("Writing ONNX", 0.7)
    said = torch_export.to_onnx(exported.program, signature, target / onnx_files.NAME, options["opset"])
    onnx_files.check(target / onnx_files.NAME)
    return {"messages": exported.messages + said, "fixed": exported.fixed}
