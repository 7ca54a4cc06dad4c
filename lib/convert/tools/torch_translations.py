"""Operators of PyTorch that the ONNX exporter writes down less exactly than ONNX can, or not at all: our form of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional


def table(program: Any) -> dict[Any, Callable[..., Any]]:
    """For ``custom_translation_table`` of ``torch.onnx.export`` of this exported program."""
    import torch

    attention = torch.ops.aten.scaled_dot_product_attention.default
    found = {torch.ops.aten.div.Tensor_mode: _div_mode()}
    if any(node.target is attention and node.args[0].meta["val"].dim() < 4 for node in program.graph.nodes):
        found[attention] = _attention()
    return found


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


def _attention() -> Callable[..., Any]:
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import nn
    from onnxscript.function_libs.torch_lib.tensor_typing import TFloat
    from onnxscript.onnx_types import TensorType

    def attention(  # type: ignore[no-untyped-def]
        query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
    ):
        """Without heads, or without a batch: the exporter takes four dimensions, so those in front are added as 1."""
        front = list(range(4 - len(query.shape)))
        if front and len(query.shape) == len(key.shape) == len(value.shape):
            axes = op.Constant(value_ints=front)
            query, key, value = (_ranked(op.Unsqueeze(v, axes), v, front) for v in (query, key, value))
        else:
            front = []
        out = nn.aten_scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
        return op.Squeeze(out, op.Constant(value_ints=front)) if front else out

    attention.__annotations__ = {
        **dict.fromkeys(("query", "key", "value", "return"), TFloat),
        "attn_mask": Optional[TensorType],  # noqa: UP045
        **{"dropout_p": float, "is_causal": bool, "scale": Optional[float], "enable_gqa": bool},  # noqa: UP045
    }
    return attention


def _ranked(made: Any, given: Any, front: list[int]) -> Any:
    """The exporter knows no shape of what a translation makes on the way, and the next translation asks for it."""
    import onnx_ir

    made.shape = onnx_ir.Shape([*(1 for _ in front), *given.shape])
    made.dtype = given.dtype
    return made
