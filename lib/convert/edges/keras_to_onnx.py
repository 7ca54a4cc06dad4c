"""Converts Keras 3 to ONNX with Keras' torch backend and torch's dynamo exporter, without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge


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
    note="Images stay channels-last, as in Keras. Dynamic dimensions stay dynamic where the exporter can keep them.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the ``precision`` fp16 for a model that computes in float16. Raises JobFailed if the exporter fails."""
    from lib.convert.formats.keras import models as keras_models
    from lib.convert.formats.keras import padding as keras_padding
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.tools import torch_export
    from lib.errors import JobFailed

    progress("Loading the model", 0.1)
    model = keras_models.load(source, "torch")
    signature = keras_models.signature(model)
    retry_messages: list[str] = []
    for dynamic, share in ((True, 0.2), (False, 0.6)):
        progress("Exporting", share)
        try:
            with keras_padding.computed():
                exported = torch_export.export(
                    keras_models.module(model), signature, dynamic=dynamic, sizes=options.get("sizes")
                )
                progress("Writing ONNX", share + 0.3)
                export_messages = torch_export.to_onnx(
                    exported.program, signature, target / onnx_files.NAME, options["opset"]
                )
            onnx_files.check(target / onnx_files.NAME)
            break
        except JobFailed as error:
            if not dynamic or not signature.symbols():
                raise
            retry_messages.append(f"Exported with every size fixed, because with dynamic sizes: {error.message}")
    is_half, half_messages = keras_models.half(model)
    answer: dict[str, Any] = {
        "messages": retry_messages + exported.messages + export_messages + half_messages,
        "fixed": exported.fixed,
    }
    return answer | ({"precision": "fp16"} if is_half else {})
