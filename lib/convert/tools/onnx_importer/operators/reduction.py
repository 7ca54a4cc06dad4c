"""Operators along axes: reductions, ArgMax and ArgMin, TopK, cumulative sums and products, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from lib.convert.tools.onnx_importer.operators.elementwise import HIGH_BIT, ordered, wide
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value, to

Tensor = torch.Tensor


def lowest(dtype: torch.dtype) -> Any:
    return -math.inf if dtype.is_floating_point else False if dtype == torch.bool else torch.iinfo(dtype).min


def highest(dtype: torch.dtype) -> Any:
    return math.inf if dtype.is_floating_point else True if dtype == torch.bool else torch.iinfo(dtype).max


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _extreme(pick: Callable[..., Tensor], empty: Callable[[torch.dtype], Any]) -> Callable[..., Tensor]:
    def run(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        if any(isinstance(x.shape[a], int) and x.shape[a] == 0 for a in axes):
            drop = {a % x.ndim for a in axes}
            shape = [1 if k in drop else d for k, d in enumerate(x.shape) if keep or k not in drop]
            return torch.full(shape, empty(x.dtype), dtype=x.dtype)
        if x.dtype == torch.bool:
            return pick(x.to(torch.uint8), axes, keepdim=keep).to(torch.bool)
        return pick(x, axes, keepdim=keep)

    return run


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.dtype.is_floating_point:
        return x.mean(axes, keepdim=keep)
    return x.to(torch.float64).mean(axes, keepdim=keep).to(torch.int64).to(x.dtype)


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.dtype.is_floating_point:
        return torch.logsumexp(x, axes, keepdim=keep)
    return torch.logsumexp(x.to(torch.float64), axes, keepdim=keep).to(x.dtype)


def _floats(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x) if x.dtype.is_floating_point else function(x.to(torch.float64)).to(x.dtype)


REDUCE: dict[str, Callable[..., Tensor]] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceProd": _prod,
    "ReduceMax": _extreme(torch.amax, lowest),
    "ReduceMin": _extreme(torch.amin, highest),
    "ReduceL1": lambda x, a, k: _sum(x.abs(), a, k),
    "ReduceL2": lambda x, a, k: _floats(torch.sqrt, _sum(x * x, a, k)),
    "ReduceSumSquare": lambda x, a, k: _sum(x * x, a, k),
    "ReduceLogSum": lambda x, a, k: _floats(torch.log, _sum(x, a, k)),
    "ReduceLogSumExp": _log_sum_exp,
}
OF_ONE_TENSOR: dict[str, Callable[[Tensor], Tensor]] = {  # applied elementwise if no axis is reduced
    "ReduceL1": torch.abs,
    "ReduceL2": torch.abs,
    "ReduceSumSquare": torch.square,
    "ReduceLogSum": torch.log,
}


def _reduction(name: str, function: Callable[..., Tensor]) -> None:
    @op(name, raw=(1,))
    def run(call: Any, x: Tensor, axes: Value = None) -> Tensor:
        reduced_axes = call.either("axes", axes)
        dtype = x.dtype
        if not reduced_axes:
            if call.attr("noop_with_empty_axes", 0):
                return OF_ONE_TENSOR[name](x) if name in OF_ONE_TENSOR else x
            reduced_axes = list(range(x.ndim))
        if dtype == torch.uint64 and name in ("ReduceMax", "ReduceMin"):
            return (function(ordered(x)[0], reduced_axes, bool(call.attr("keepdims", 1))) ^ HIGH_BIT).to(dtype)
        if not reduced_axes:
            return REDUCE[name](wide(x)[0].reshape(1), [0], False).to(dtype)
        return to(function(wide(x)[0], reduced_axes, bool(call.attr("keepdims", 1))), dtype)


for _name, _function in REDUCE.items():
    _reduction(_name, _function)


@op("ArgMax", "ArgMin")
def arg_extreme(call: Any, x: Tensor) -> Tensor:
    axis, keep = call.attr("axis", 0), bool(call.attr("keepdims", 1))
    pick = torch.argmax if call.node.op == "ArgMax" else torch.argmin
    x = ordered(x)[0]
    if call.attr("select_last_index", 0):
        return x.shape[axis] - 1 - pick(x.flip(axis), axis, keepdim=keep)
    return pick(x, axis, keepdim=keep)


@op("TopK", raw=(1,))
def top_k(call: Any, x: Tensor, k: Value = None) -> tuple[Tensor, Tensor]:
    count = call.attr("k") if k is None else call.ints(k)[0]
    axis, largest = call.attr("axis", -1), bool(call.attr("largest", 1))
    _, indices = torch.sort(ordered(x)[0], dim=axis, descending=largest, stable=True)
    indices = indices.narrow(axis, 0, count)
    return to(torch.gather(wide(x)[0], axis, indices), x.dtype), indices


@op("CumSum", "CumProd", raw=(1,))
def running(call: Any, x: Tensor, axis: Value) -> Tensor:
    (dim,) = call.ints(axis)
    add = call.node.op == "CumSum"
    out = wide(x)[0]
    if call.attr("reverse", 0):
        out = out.flip(dim)
    if call.attr("exclusive", 0):
        identity = torch.full_like(out.narrow(dim, 0, 1), 0 if add else 1)
        out = torch.cat([identity, out.narrow(dim, 0, out.shape[dim] - 1)], dim)
    out = (torch.cumsum if add else torch.cumprod)(out, dim, dtype=out.dtype)
    return to(out.flip(dim) if call.attr("reverse", 0) else out, x.dtype)


@op("Softmax", "LogSoftmax", "Hardmax")
def softmax(call: Any, x: Tensor) -> Tensor:
    axis = call.attr("axis", -1 if call.version >= 13 else 1)
    if call.version >= 13 or axis % max(x.ndim, 1) == x.ndim - 1:
        return _softmax(call.node.op, x, axis)
    axis %= x.ndim
    flat = x.flatten(axis)  # before opset 13, all axes from this one on are flattened
    return _softmax(call.node.op, flat, axis).reshape(x.shape)


def _softmax(name: str, x: Tensor, axis: int) -> Tensor:
    if name == "Hardmax":
        best = torch.argmax(x, axis, keepdim=True)
        return torch.zeros_like(x).scatter(axis, best, 1)
    return torch.softmax(x, axis) if name == "Softmax" else torch.log_softmax(x, axis)
