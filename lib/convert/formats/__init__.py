"""The formats: a folder each, with its rows of the table here, its checks and its runner.

An artifact is a folder with one main file (or, where ``main`` ends in ``/``, one main folder) and what belongs
beside it. ``recognise`` tells a format by content; its name never decides alone.
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

# In the order in which they are listed for a visitor. The ``__init__`` of each has its rows and imports no framework.
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
    """Raises InvalidValue, which lists what there is."""
    if name not in FORMATS:
        raise InvalidValue("target", name, ", ".join(FORMATS))
    return FORMATS[name]


def function(name: str) -> Callable[..., Any]:
    """What a row of the table calls ``module:function``."""
    module, name = name.split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def main_file(name: str, folder: Path) -> Path:
    """Where an artifact of the format ``name`` lies in its folder."""
    return folder / find(name).main.rstrip("/")


def load(format: str, folder: Path) -> Runner:
    """The runner of an artifact in ``folder``."""
    return function(find(format).runner)(folder)
