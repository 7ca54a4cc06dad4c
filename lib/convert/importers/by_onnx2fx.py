"""Through onnx2fx, which writes an FX graph."""

from __future__ import annotations

import onnx
import torch

from lib.convert.importers.by_onnx2pytorch import Wrapped
from lib.onnx_model.open import Model


def load(model: Model) -> torch.nn.Module:
    import onnx2fx

    return Wrapped(onnx2fx.convert(onnx.load(model.path))).eval()
