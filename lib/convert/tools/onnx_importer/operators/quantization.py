"""Quantization, dequantization and quantized matrix products."""

from __future__ import annotations

from typing import Any

import torch

from lib.convert.core.torch_values import TORCH
from lib.convert.tools.onnx_importer.operators.elementwise import ELEMENT_TYPES, element_type
from lib.convert.tools.onnx_importer.registry import op

Tensor = torch.Tensor
INTEGERS = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32)


def spread(call: Any, value: Tensor, x: Tensor) -> Tensor:
    """Reshapes a scale or zero point, per tensor, per axis or per block, to broadcast over ``x``."""
    if value.numel() == 1 and value.ndim <= 1:
        return value.reshape(())
    axis, block = call.attr("axis", 1) % x.ndim, call.attr("block_size", 0)
    if block:
        return value.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return value.reshape([-1 if k == axis else 1 for k in range(x.ndim)])


def rounded(x: Tensor, zero: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Rounds half to even, adds the zero point and clamps to the dtype's range. Raises ValueError for other dtypes."""
    if dtype not in INTEGERS:
        raise ValueError
    bounds = torch.iinfo(dtype)
    x = torch.round(x)
    x = x if zero is None else x + zero.to(x.dtype)
    return x.clamp(bounds.min, bounds.max).to(torch.int64).to(dtype)


@op("QuantizeLinear")
def quantize(call: Any, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    number = call.attr("output_dtype", 0)
    dtype = zero.dtype if zero is not None else element_type(call, number) if number else torch.uint8
    if dtype not in INTEGERS:
        raise call.fail(f"quantization to {str(dtype).removeprefix('torch.')}")
    precision = call.attr("precision", 0)
    kind = TORCH[ELEMENT_TYPES[precision]] if precision else scale.dtype
    if not x.dtype.is_floating_point:
        x = x.to(kind)
    out = x.to(kind) / spread(call, scale, x).to(kind)
    return rounded(out, None if zero is None else spread(call, zero.to(torch.int32), x), dtype)


@op("DequantizeLinear")
def dequantize(call: Any, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    if x.dtype not in INTEGERS:
        raise call.fail(f"values of {str(x.dtype).removeprefix('torch.')}")
    number = call.attr("output_dtype", 0)
    dtype = element_type(call, number) if number else scale.dtype
    integers = x.to(torch.int32)
    if zero is not None:
        integers = integers - spread(call, zero.to(torch.int32), x)
    return (integers.to(scale.dtype) * spread(call, scale, x)).to(dtype)


@op("DynamicQuantizeLinear")
def dynamic_quantize(call: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    zero = torch.zeros((), dtype=x.dtype)
    low, high = torch.minimum(x.amin(), zero), torch.maximum(x.amax(), zero)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    origin = torch.round((0 - low) / scale).clamp(0, 255)
    return rounded(x / scale, origin, torch.uint8), scale, origin.to(torch.uint8)


def _shifted(x: Tensor, zero: Tensor | None, rows: bool) -> Tensor:
    """Subtracts the zero point in float64, in which sums of byte products are exact."""
    x = x.to(torch.float64)
    if zero is None:
        return x
    if zero.numel() > 1 and zero.ndim == 1:
        return x - (zero.unsqueeze(-1) if rows else zero)
    return x - (zero if zero.ndim > 1 else zero.reshape(()))


@op("MatMulInteger")
def matmul_integer(call: Any, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
    return torch.matmul(_shifted(a, a_zero, True), _shifted(b, b_zero, False)).to(torch.int32)


@op("QLinearMatMul")
def qlinear_matmul(
    call: Any, a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor,
    y_scale: Tensor, y_zero: Tensor,
) -> Tensor:  # fmt: skip
    def scale(value: Tensor, rows: bool) -> Tensor:
        value = value.to(torch.float64)
        if value.numel() > 1 and value.ndim == 1:
            return value.unsqueeze(-1) if rows else value
        return value if value.ndim > 1 else value.reshape(())

    out = torch.matmul(_shifted(a, a_zero, True), _shifted(b, b_zero, False))
    out = out * scale(a_scale, True) * scale(b_scale, False) / scale(y_scale, True)
    zero = (
        y_zero.unsqueeze(-1)
        if y_zero.numel() > 1 and y_zero.ndim == 1
        else y_zero.reshape(())
        if y_zero.ndim < 2
        else y_zero
    )
    return rounded(out, zero, y_zero.dtype)
