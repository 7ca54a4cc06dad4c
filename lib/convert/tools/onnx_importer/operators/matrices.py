"""Matrix products, Einsum and determinants."""

from __future__ import annotations

from typing import Any

import torch

from lib.convert.tools.onnx_importer.operators.elementwise import wide
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import to

Tensor = torch.Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    return to(torch.matmul(*wide(a, b)), a.dtype)


@op("MatMul")
def matmul(call: Any, a: Tensor, b: Tensor) -> Tensor:
    return product(a, b)


@op("Gemm")
def gemm(call: Any, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    alpha, beta = call.attr("alpha", 1.0), call.attr("beta", 1.0)
    a = a.transpose(0, 1) if call.attr("transA", 0) else a
    if c is not None and alpha == beta == 1 and call.attr("transB", 0) and c.ndim == 1 and a.dtype.is_floating_point:
        return torch.nn.functional.linear(a, b, c)
    out = product(a, b.transpose(0, 1) if call.attr("transB", 0) else b)
    if alpha != 1:
        out = to(out * alpha, a.dtype)
    if c is None:
        return out
    return out + (c if beta == 1 else to(c * beta, a.dtype))


@op("Einsum")
def einsum(call: Any, *values: Tensor) -> Tensor:
    return torch.einsum(call.attr("equation"), *values)


@op("Det")
def det(call: Any, x: Tensor) -> Tensor:
    return torch.linalg.det(x)
