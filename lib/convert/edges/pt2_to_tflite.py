"""Converts an exported PyTorch program to TensorFlow Lite with LiteRT Torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "pt2",
    "tflite",
    tool="litert-torch",
    precision="fp32",
    seconds=40,
    error=3e-6,
    environment="litert-torch",
    note="Every dimension gets a fixed size: the batch is 1.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.pt2 import files as pt2_files
    from lib.convert.tools import litert as litert_tool

    progress("Opening the program", 0.1)
    program, signature = pt2_files.load(source)
    module = program.module(check_guards=False)
    progress("Converting with LiteRT Torch", 0.3)
    return litert_tool.write(module, signature, target, options.get("sizes"))
