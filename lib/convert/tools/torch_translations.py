"""Custom ONNX translations of PyTorch operators that the exporter translates imprecisely or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional


def table(program: Any) -> dict[Any, Callable[..., Any]]:
    """Returns the ``custom_translation_table`` for ``torch.onnx.export`` of this exported program."""
    import torch

    attention = torch.ops.aten.scaled_dot_product_attention.default
    translations = {torch.ops.aten.div.Tensor_mode: _div_mode()}
    if any(node.target is attention and node.args[0].meta["val"].dim() < 4 for node in program.graph.nodes):
        translations[attention] = _attention()
    return translations


def _div_mode() -> Callable[..., Any]:
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import core
    from onnxscript.function_libs.torch_lib.tensor_typing import TReal

    def div_mode(self, other, rounding_mode=None):  # type: ignore[no-untyped-def]
        """Divides integers as integers; the exporter goes through float32, which is exact to 24 bits only."""
        if rounding_mode is None or not self.dtype.is_integer():
            return core.aten_div_mode(self, other, rounding_mode)
        return op.Div(self, other) if rounding_mode == "trunc" else core.aten_floor_divide(self, other)

    # the exporter reads types from annotations, but cannot resolve names imported inside a function
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
        """Attention without heads or batch: the exporter needs four dimensions, so leading ones of size 1 are added."""
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
    """Sets shape and dtype of an intermediate value, which the exporter does not infer but the next translation needs."""
    import onnx_ir

    made.shape = onnx_ir.Shape([*(1 for _ in front), *given.shape])
    made.dtype = given.dtype
    return made
