"""Which format an uploaded file has, by its first bytes; nothing else of it is looked at here."""

from __future__ import annotations

from pathlib import Path

from lib.tflite.file import IDENTIFIER

ONNX, TFLITE = "onnx", "tflite"
NAMES = (".onnx", ".tflite", ".lite", ".task")  # what models that open here are called
BUNDLES = (".task", ".zip")  # zips of TensorFlow Lite files


def of(path: str, name: str = "") -> str:
    """ONNX has no mark, so what is nothing else is taken for it. A name decides only what is said of a wrong file.

    ``name`` is the visitor's, where the file is kept under another.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(8)
    except OSError:
        head = b""
    called = (name or path).lower()
    if head[4:8] == IDENTIFIER or called.endswith((".tflite", ".lite", ".task")):
        return TFLITE
    return TFLITE if head[:4] == b"PK\x03\x04" and called.endswith(BUNDLES) else ONNX


def is_model(path: str) -> bool:
    """Whether it is a model and no data beside one."""
    return path.lower().endswith(NAMES) or of(path) == TFLITE
