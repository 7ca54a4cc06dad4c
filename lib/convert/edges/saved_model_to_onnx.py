"""Converts one signature of a TensorFlow SavedModel to ONNX with tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core import signatures
from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge


@edge(
    "saved-model",
    "onnx",
    tool="tf2onnx",
    precision="fp32",
    seconds=25,
    error=3e-6,
    environment="tensorflow",
    options=(
        Option(name="opset", title="ONNX opset", kind="choice", default="18", choices=("15", "16", "17", "18")),
        signatures.OPTION,
    ),
    note="Images stay channels-last. Of several signatures, one is converted: the requested one, or serving_default.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidValue for an unknown signature, InvalidFile or JobFailed for a model that ONNX cannot express."""
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.formats.saved_model import freeze as saved_model_freeze
    from lib.convert.formats.saved_model.runner import load, signature
    from lib.convert.tools import tf2onnx as tf2onnx_tool

    progress("Loading the SavedModel", 0.1)
    loaded, functions = load(source)
    picked = signatures.pick(source, options["signature"], list(functions))
    described = signature(functions[picked.key])
    import tensorflow as tf

    progress("Making constants of variables", 0.3)
    names = [v.name for v in described.inputs]
    call, specs = saved_model_freeze.frozen(functions[picked.key], names, [v.name for v in described.outputs])
    progress("Converting with tf2onnx", 0.4)
    model = tf2onnx_tool.from_function(tf.function(call, input_signature=specs), specs, int(options["opset"]))
    inputs = {f"input_{k}": n for k, n in enumerate(names)}
    outputs = {f"output_{k}": v.name for k, v in enumerate(described.outputs)}
    tf2onnx_tool.name(model, inputs, outputs, described)
    del loaded
    progress("Writing ONNX", 0.9)
    onnx_files.write(model, target)
    return picked.as_answer()
