"""Operators of PyTorch that the ONNX exporter writes down less exactly than ONNX can: our form of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional


def table() -> dict[Any, Callable[..., Any]]:
    """For ``custom_translation_table`` of ``torch.onnx.export``."""
    import torch

    return {torch.ops.aten.div.Tensor_mode: _div_mode()}


def _div_mode() -> Callable[..., Any]:
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import core
    from onnxscript.function_libs.torch_lib.tensor_typing import TReal

    def div_mode(self, other, rounding_mode=None):  # type: ignore[no-untyped-def]
        """Whole numbers are divided as such; the exporter's own way goes over float32, which ends at 24 bits."""
        if rounding_mode is None or not self.dtype.is_integer():
            return core.aten_div_mode(self, other, rounding_mode)
        return op.Div(self, other) if rounding_mode == "trunc" else core.aten_floor_divide(self, other)

    # the exporter reads types from here, and a name that was imported in a function is none for it
    div_mode.__annotations__ = {"self": TReal, "other": TReal, "rounding_mode": Optional[str], "return": TReal}  # noqa: UP045
    return div_mode
