"""Converts one signature of a TensorFlow Lite file to ONNX with tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core import signatures
from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge


@edge(
    "tflite",
    "onnx",
    tool="tf2onnx",
    precision="fp32",
    seconds=20,
    error=3e-6,
    environment="tensorflow",
    options=(
        Option(name="opset", title="ONNX opset", kind="choice", default="18", choices=("15", "16", "17", "18")),
        signatures.OPTION,
    ),
    note="Of several signatures, one is converted: the requested one, serving_default, or the first.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the ``precision`` int8 for a file that computes in integers.

    Raises InvalidValue for an unknown signature, JobFailed if tf2onnx fails.
    """
    import tempfile

    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.formats.tflite import main_graph as tflite_main_graph
    from lib.convert.formats.tflite import shapes as tflite_shapes
    from lib.convert.tools import tf2onnx as tf2onnx_tool
    from lib.tflite import codes as tflite_codes
    from lib.tflite import file as tflite_file
    from lib.tflite import weights as tflite_weights
    from lib.tflite.signatures import described, keys, not_compared, parts

    progress("Reading the file", 0.1)
    path = source / tflite_file.NAME
    file = tflite_file.read(path)
    picked = signatures.pick(source, options["signature"], keys(file) + not_compared(file))
    (part,), signature = parts(file, picked.key), described(file, picked.key)
    with tempfile.TemporaryDirectory() as scratch:
        tflite_codes.upgrade_operator_codes(path, Path(scratch) / "numbered.tflite", numbered=True)
        path = Path(scratch) / "numbered.tflite"
        if part.graph:
            tflite_main_graph.with_main_graph(path, Path(scratch) / "main.tflite", part.graph)
            path = Path(scratch) / "main.tflite"
        if not signature.symbols():
            tflite_shapes.write_actual_shapes(path, Path(scratch) / tflite_file.NAME)
            path = Path(scratch) / tflite_file.NAME
        progress("Converting with tf2onnx", 0.3)
        model = tf2onnx_tool.from_tflite(path, int(options["opset"]))
    ends = [{tflite_codes.number(part.graph, n): name for name, n in side.items()} for side in (part.inputs, part.outputs)]
    tf2onnx_tool.name(model, *ends, signature)
    progress("Writing ONNX", 0.9)
    onnx_files.write(model, target)
    if not tflite_weights.computes_in_integers(file):
        return picked.as_answer()
    message = "The file computes in integers, which other runtimes round differently: it is judged as an int8 model."
    return {"messages": [*picked.messages, message], "lost": picked.lost, "precision": "int8"}
