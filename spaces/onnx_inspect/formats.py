"""Detect the format of an uploaded file from its first bytes and its name."""

from __future__ import annotations

from pathlib import Path

from lib.tflite.file import IDENTIFIER

ONNX, TFLITE = "onnx", "tflite"
NAMES = (".onnx", ".tflite", ".lite", ".task")  # suffixes of models
BUNDLES = (".task", ".zip")  # suffixes of zips of TensorFlow Lite files


def of(path: str, name: str = "") -> str:
    """Return the format of a file. ONNX has no magic number, so a file that is not TensorFlow Lite counts as ONNX.

    ``name``: the visitor's file name, if the file is stored under another one.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(8)
    except OSError:
        head = b""
    filename = (name or path).lower()
    if head[4:8] == IDENTIFIER or filename.endswith((".tflite", ".lite", ".task")):
        return TFLITE
    return TFLITE if head[:4] == b"PK\x03\x04" and filename.endswith(BUNDLES) else ONNX


def is_model(path: str) -> bool:
    """Return whether the file is a model, as opposed to external data."""
    return path.lower().endswith(NAMES) or of(path) == TFLITE
