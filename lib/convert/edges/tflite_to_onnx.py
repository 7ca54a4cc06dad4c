"""TensorFlow Lite to ONNX, by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge


@edge(
    "tflite",
    "onnx",
    tool="tf2onnx",
    precision="fp32",
    seconds=20,
    error=3e-6,
    environment="tensorflow",
    options=(Option(name="opset", title="ONNX opset", kind="choice", default="18", choices=("15", "16", "17", "18")),),
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    import tempfile

    from lib.convert import onnx_files, tf2onnx_tool, tflite_file, tflite_shapes
    from lib.convert.runners.tflite import described, tensor_names

    progress("Reading the file", 0.1)
    file = tflite_file.read(source / tflite_file.NAME)
    signature = described(file)
    with tempfile.TemporaryDirectory() as scratch:
        path = source / tflite_file.NAME
        if not signature.symbols():
            path = Path(scratch) / tflite_file.NAME
            tflite_shapes.settled(source / tflite_file.NAME, path)
        progress("Converting with tf2onnx", 0.3)
        model = tf2onnx_tool.from_tflite(path, int(options["opset"]))
    tf2onnx_tool.name(model, *tensor_names(file), signature)
    progress("Writing ONNX", 0.9)
    onnx_files.write(model, target)
    return {}
