"""Converts Keras 3 to TensorFlow Lite with its torch backend and LiteRT Torch, without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "keras",
    "tflite",
    tool="litert-torch",
    precision="fp32",
    seconds=40,
    error=3e-6,
    environment="litert-torch",
    note="Every dimension gets a fixed size: the batch is 1 unless sizes say otherwise.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.keras import models as keras_models
    from lib.convert.tools import litert as litert_tool

    progress("Loading the model", 0.1)
    model = keras_models.load(source, "torch")
    module, signature = keras_models.module(model), keras_models.signature(model)
    progress("Converting with LiteRT Torch", 0.3)
    answer = litert_tool.write(module, signature, target, options.get("sizes"))
    is_half, half_messages = keras_models.half(model)
    answer["messages"] += half_messages
    return answer | ({"precision": "fp16"} if is_half else {})
