"""Calls AI Edge Quantizer on a verified TensorFlow Lite file. Knows nothing of what the edges ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert import tflite_file
from lib.errors import JobFailed
from lib.onnx_model.words import clean


def quantiser(source: Path) -> Any:
    """A Quantizer of the artifact, whose structure has been verified. Raises InvalidFile."""
    from ai_edge_quantizer import quantizer

    path = source / tflite_file.NAME
    tflite_file.read(path)
    try:
        return quantizer.Quantizer(path)
    except Exception as error:  # of flatbuffers, numpy and its own
        raise refused(error) from None


def save(made: Any, target: Path) -> list[str]:
    """Writes the artifact and says how many of its tensors changed their type."""
    path = target / tflite_file.NAME
    try:
        made.export_model(path)
    except Exception as error:
        raise refused(error) from None
    held = _weights(tflite_file.read(path))
    return ["Weights now: " + ", ".join(f"{n} of {kind}" for kind, n in sorted(held.items())) + "."]


def refused(error: Exception) -> JobFailed:
    return JobFailed(f"AI Edge Quantizer gave up: {clean(str(error)) or type(error).__name__}")


def _weights(model: dict[str, Any]) -> dict[str, int]:
    """Tensors with weights, by dtype."""
    found: dict[str, int] = {}
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            buffer = model["buffers"][tensor["buffer"]]
            if len(buffer["data"]) or buffer["offset"] > 1:
                kind = tflite_file.DTYPES.get(tensor["type"], "another type")
                found[kind] = found.get(kind, 0) + 1
    return found
