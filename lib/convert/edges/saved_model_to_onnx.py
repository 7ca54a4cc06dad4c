"""TensorFlow SavedModel to ONNX, by tf2onnx, of the default serving signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge


@edge(
    "saved-model",
    "onnx",
    tool="tf2onnx",
    precision="fp32",
    seconds=25,
    error=3e-6,
    environment="tensorflow",
    options=(Option(name="opset", title="ONNX opset", kind="choice", default="18", choices=("15", "16", "17", "18")),),
    note="Pictures stay channels-last, as TensorFlow has them.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert import onnx_files, tf2onnx_tool
    from lib.convert.runners.saved_model import load, signature

    progress("Loading the SavedModel", 0.1)
    loaded, function = load(source)
    described = signature(function)
    import tensorflow as tf

    names = [v.name for v in described.inputs]

    def call(*given: Any) -> dict[str, Any]:
        found = function(**dict(zip(names, given, strict=True)))
        # Identity: an output may be an input or another output as it is
        return {f"output_{k}": tf.identity(found[v.name]) for k, v in enumerate(described.outputs)}

    _, specs = function.structured_input_signature
    wanted = [tf.TensorSpec(specs[n].shape, specs[n].dtype, name=f"input_{k}") for k, n in enumerate(names)]
    progress("Converting with tf2onnx", 0.4)
    model = tf2onnx_tool.from_function(tf.function(call, input_signature=wanted), wanted, int(options["opset"]))
    inputs = {f"input_{k}": n for k, n in enumerate(names)}
    outputs = {f"output_{k}": v.name for k, v in enumerate(described.outputs)}
    tf2onnx_tool.name(model, inputs, outputs, described)
    del loaded
    progress("Writing ONNX", 0.9)
    onnx_files.write(model, target)
    return {}
