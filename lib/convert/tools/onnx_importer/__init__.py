"""ONNX importer: interprets the graph with torch operators, so that ``torch.export`` can trace through it."""

from __future__ import annotations

import torch

from lib.onnx_model.open import Model


def load(model: Model) -> torch.nn.Module:
    """Returns the model as a module in eval mode. Raises Unsupported, naming the operator, for what is not implemented."""
    from lib.convert.tools.onnx_importer.interpreter import Interpreter

    return Interpreter(model).eval()
