"""Converts a PyTorch architecture to TensorFlow Lite with LiteRT Torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "architecture",
    "tflite",
    tool="litert-torch",
    precision="fp32",
    seconds=40,
    error=3e-6,
    environment="litert-torch",
    note="Every dimension gets a fixed size: the batch is 1.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.pytorch import architectures
    from lib.convert.tools import litert as litert_tool

    progress("Building the model", 0.1)
    module, signature = architectures.load(source)
    progress("Converting with LiteRT Torch", 0.3)
    return litert_tool.write(module, signature, target, options.get("sizes"))
