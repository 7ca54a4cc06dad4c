"""The registry of formats. Each subpackage holds one format family: its ``FORMATS`` rows, its checks and its runner.

An artifact is a folder with one main file (or one main folder, where ``main`` ends in ``/``) and its companion files.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.core.format import APP, Format
from lib.convert.core.runner import Runner
from lib.errors import InvalidValue

__all__ = ["APP", "FOLDERS", "FORMATS", "Format", "find", "function", "load", "main_file"]

# In display order. The ``__init__`` of each subpackage defines its rows and imports no framework.
FOLDERS = (
    "pytorch",
    "pt2",
    "torch_module",
    "weights",
    "onnx",
    "openvino",
    "keras",
    "saved_model",
    "tflite",
    "executorch",
    "jax",
    "diffusers",
    "single_file",
)
FORMATS: dict[str, Format] = {
    row.name: row for folder in FOLDERS for row in importlib.import_module(f"{__name__}.{folder}").FORMATS
}


def find(name: str) -> Format:
    """Returns the format called ``name``. Raises InvalidValue, which lists the known names."""
    if name not in FORMATS:
        raise InvalidValue("target", name, ", ".join(FORMATS))
    return FORMATS[name]


def function(name: str) -> Callable[..., Any]:
    """Resolves a ``module:function`` reference of a ``FORMATS`` row."""
    module, name = name.split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def main_file(name: str, folder: Path) -> Path:
    """Returns the path of the main file (or main folder) of an artifact of the format ``name``."""
    return folder / find(name).main.rstrip("/")


def load(format: str, folder: Path) -> Runner:
    """Returns the runner for the artifact in ``folder``."""
    return function(find(format).runner)(folder)
