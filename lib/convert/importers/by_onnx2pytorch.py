"""Through onnx2pytorch, whose modules take and give what ONNX has in its own order."""

from __future__ import annotations

from typing import Any

import onnx
import torch

from lib.onnx_model.open import Model


class Wrapped(torch.nn.Module):
    """Positional inputs, and a tuple of outputs whatever their number."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        out = self.inner(*inputs)
        return tuple(out) if isinstance(out, list | tuple) else (out,)


def load(model: Model) -> torch.nn.Module:
    from onnx2pytorch import ConvertModel

    return Wrapped(ConvertModel(onnx.load(model.path))).eval()
