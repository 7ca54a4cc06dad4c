"""Our own importer: the ONNX graph is interpreted with torch operators, and ``torch.export`` traces through it."""

from __future__ import annotations

import torch

from lib.onnx_model.open import Model


def load(model: Model) -> torch.nn.Module:
    """Raises Unsupported, with the operator, for what it has no meaning for."""
    from lib.convert.tools.onnx_importer.interpreter import Interpreter

    return Interpreter(model).eval()
