"""Gathering and scattering elements by index."""

from __future__ import annotations

from typing import Any

import torch

from lib.convert.tools.onnx_importer.operators.elementwise import wide
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value, to

Tensor = torch.Tensor
REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def positive(indices: Tensor, length: Any) -> Tensor:
    """Returns int64 indices, with negative ones counted from the end."""
    indices = to(indices, torch.int64)
    return torch.where(indices < 0, indices + length, indices)


@op("Gather")
def gather(call: Any, x: Tensor, indices: Tensor) -> Tensor:
    axis = call.attr("axis", 0) % x.ndim
    index = positive(indices, x.shape[axis])
    if x.ndim == 2 and axis == 0 and x.dtype.is_floating_point:
        return torch.nn.functional.embedding(index, x)
    out = to(wide(x)[0].index_select(axis, index.reshape(-1)), x.dtype)
    return out if indices.ndim == 1 else out.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@op("GatherElements")
def gather_elements(call: Any, x: Tensor, indices: Tensor) -> Tensor:
    axis = call.attr("axis", 0)
    return torch.gather(x, axis, positive(indices, x.shape[axis]))


@op("GatherND")
def gather_nd(call: Any, x: Tensor, indices: Tensor) -> Tensor:
    batch = call.attr("batch_dims", 0)
    depth = indices.shape[-1]
    index = [positive(indices[..., k], x.shape[batch + k]) for k in range(depth)]
    for k in range(batch):  # the batch axes index themselves
        places = torch.arange(x.shape[k]).reshape([-1 if j == k else 1 for j in range(index[-1].ndim)])
        index.insert(k, places)
    return x[tuple(index)]


@op("Scatter", "ScatterElements")
def scatter_elements(call: Any, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = call.attr("axis", 0)
    index, how = positive(indices, x.shape[axis]), call.attr("reduction", "none")
    if how == "none":
        return x.scatter(axis, index, updates)
    return x.scatter_reduce(axis, index, updates, REDUCTIONS[how], include_self=True)


@op("ScatterND")
def scatter_nd(call: Any, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    depth, how = indices.shape[-1], call.attr("reduction", "none")
    index = [positive(indices[..., k], x.shape[k]) for k in range(depth)]
    if how in ("none", "add"):
        return x.index_put(tuple(index), updates, accumulate=how == "add")
    rows = torch.zeros_like(index[0])
    for k, places in enumerate(index):
        rows = rows * x.shape[k] + places
    flat = x.flatten(0, depth - 1).reshape(x.shape[:depth].numel(), -1)
    rows, values = rows.reshape(-1, 1), updates.reshape(rows.numel(), -1)
    return flat.scatter_reduce(0, rows.expand_as(values), values, REDUCTIONS[how], include_self=True).reshape(x.shape)


@op("OneHot", raw=(1,))
def one_hot(call: Any, indices: Tensor, depth: Value, values: Tensor) -> Tensor:
    count, axis = int(call.number(depth)), call.attr("axis", -1)
    axis = axis % (indices.ndim + 1)
    index = positive(indices, count)
    places = torch.arange(count).reshape([-1 if k == axis else 1 for k in range(indices.ndim + 1)])
    return torch.where(index.unsqueeze(axis) == places, values[1], values[0])


@op("NonZero")
def non_zero(call: Any, x: Tensor) -> Tensor:
    return torch.nonzero(x).transpose(0, 1)


@op("Compress")
def compress(call: Any, x: Tensor, condition: Tensor) -> Tensor:
    axis = call.attr("axis")
    if axis is None:
        x, axis = x.reshape(-1), 0
    return x.index_select(axis, torch.nonzero(condition).reshape(-1))


@op("Unique")
def unique(call: Any, x: Tensor) -> tuple[Tensor, ...]:
    axis = call.attr("axis")
    if axis is None:
        x, axis = x.reshape(-1), 0
    values, inverse, counts = torch.unique(x, sorted=True, return_inverse=True, return_counts=True, dim=axis)
    inverse, counts = inverse.to(torch.int64), counts.to(torch.int64)  # torch reports other dtypes during export
    length = inverse.shape[0]
    places = torch.arange(length)
    first_index = torch.full_like(counts, length).scatter_reduce(0, inverse, places, "amin", include_self=True)
    if not call.attr("sorted", 1):  # in order of first appearance
        order = torch.argsort(first_index)
        rank = torch.argsort(order)
        values, first_index, inverse, counts = (
            values.index_select(axis, order),
            first_index[order],
            rank[inverse],
            counts[order],
        )
    return values, first_index, inverse, counts


@op("ReverseSequence")
def reverse_sequence(call: Any, x: Tensor, lengths: Tensor) -> Tensor:
    batch, time = call.attr("batch_axis", 1), call.attr("time_axis", 0)
    steps = torch.arange(x.shape[time]).unsqueeze(1)
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)  # (time, batch)
    source = source if time < batch else source.transpose(0, 1)
    source = source.reshape(*source.shape, *[1] * (x.ndim - 2)).expand_as(x)
    return torch.gather(x, time, source)


@op("TensorScatter")
def tensor_scatter(call: Any, cache: Tensor, update: Tensor, starts: Tensor | None = None) -> Tensor:
    axis = call.attr("axis", -2) % cache.ndim
    steps = torch.arange(update.shape[axis]).reshape([-1 if k == axis else 1 for k in range(cache.ndim)])
    if starts is not None:
        steps = steps + starts.reshape(-1, *[1] * (cache.ndim - 1))
    if call.attr("mode", "linear") == "circular":
        steps = steps.remainder(cache.shape[axis])
    return cache.scatter(axis, steps.expand_as(update), update)


@op("ArrayFeatureExtractor", domain="ai.onnx.ml")
def array_feature_extractor(call: Any, x: Tensor, indices: Tensor) -> Tensor:
    out = x.index_select(-1, indices.reshape(-1))
    return out.reshape(1, -1) if x.ndim == 1 else out
