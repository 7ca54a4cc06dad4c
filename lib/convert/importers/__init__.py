"""Importers: each turns a checked ONNX file into a ``torch.nn.Module`` in eval mode. Order is the order of the race.

An importer is ``load(model: lib.onnx_model.open.Model) -> torch.nn.Module`` whose ``forward(*inputs)`` takes one
tensor for each input of the graph that is no initializer, in order, and gives a tuple with every output in order. It
raises ``Unsupported`` for what it knows it cannot do. None of them is believed: ``onnx_to_pt2`` checks them all.
"""

from __future__ import annotations

import importlib
from typing import Any

NAMES = ("own", "onnx2pytorch", "onnx2fx")
MODULES = {"own": "own", "onnx2pytorch": "by_onnx2pytorch", "onnx2fx": "by_onnx2fx"}


class Unsupported(Exception):
    """The words are for the visitor: which operator, and what about it."""


def load(name: str, model: Any) -> Any:
    """The module that the importer ``name`` makes of ``model``. Raises Unsupported, or whatever a library raises."""
    return importlib.import_module(f"{__name__}.{MODULES[name]}").load(model)
