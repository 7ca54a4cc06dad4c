"""Shape operators: reading and changing shapes, padding, slicing, splitting, concatenating."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from lib.convert.tools.onnx_importer.operators.elementwise import element_type, wide
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import WIDER, Known, Value, as_tensor, known, to

Tensor = torch.Tensor


@op("Shape", raw=True)
def shape(call: Any, x: Value) -> Known:
    dims = list(x.array.shape if isinstance(x, Known) else x.shape)
    return known(dims[call.attr("start", 0) : call.attr("end", len(dims))])


@op("Size")
def size(call: Any, x: Tensor) -> Known:
    return known(x.numel())


@op("Constant")
def constant(call: Any) -> Value:
    for name, dtype in (("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
                        ("value_ints", torch.int64)):  # fmt: skip
        if call.attr(name) is not None:
            return known(call.attr(name), dtype)
    value = call.attr("value")
    if value is None:
        raise call.fail("only numeric constants")
    return value


@op("ConstantOfShape", raw=True)
def constant_of_shape(call: Any, shape: Value) -> Tensor:
    value = as_tensor(call.attr("value", known(0.0, torch.float32)))
    dims = call.ints(shape)
    if value.dtype == torch.bool or value.dtype in WIDER:
        return (
            value.reshape(()).expand(dims).clone()
            if value.dtype != torch.bool
            else torch.full(dims, bool(value), dtype=torch.bool)
        )
    return torch.full(dims, value.reshape(()).item(), dtype=value.dtype)


@op("Reshape", raw=(1,))
def reshape(call: Any, x: Tensor, shape: Value = None) -> Tensor:
    target = call.either("shape", shape)
    if not call.attr("allowzero", 0):
        target = [x.shape[k] if isinstance(d, int) and d == 0 else d for k, d in enumerate(target)]
    return x.reshape(target)


@op("Flatten")
def flatten(call: Any, x: Tensor) -> Tensor:
    axis = call.attr("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    rows = 1
    for d in x.shape[:axis]:
        rows = rows * d
    columns = 1
    for d in x.shape[axis:]:
        columns = columns * d
    return x.reshape(rows, columns)


@op("Squeeze", raw=(1,))
def squeeze(call: Any, x: Tensor, axes: Value = None) -> Tensor:
    chosen_axes = call.either("axes", axes)
    if chosen_axes is None:
        return x.squeeze()
    drop = {a % x.ndim for a in chosen_axes}
    if any(isinstance(x.shape[a], int) and x.shape[a] != 1 for a in drop):
        raise call.fail(f"an axis of {sorted(drop)} does not have size 1 in {list(x.shape)}")
    return x.squeeze(tuple(drop))


@op("Unsqueeze", raw=(1,))
def unsqueeze(call: Any, x: Tensor, axes: Value = None) -> Tensor:
    new_axes = call.either("axes", axes)
    rank = x.ndim + len(new_axes)
    for axis in sorted(a % rank for a in new_axes):
        x = x.unsqueeze(axis)
    return x


@op("Transpose")
def transpose(call: Any, x: Tensor) -> Tensor:
    return x.permute(call.attr("perm") or list(range(x.ndim))[::-1])


@op("Expand", raw=(1,))
def expand(call: Any, x: Tensor, shape: Value) -> Tensor:
    target = call.ints(shape)
    rank = max(x.ndim, len(target))
    target = [1] * (rank - len(target)) + target
    source = [1] * (rank - x.ndim) + list(x.shape)
    return x.expand([a if isinstance(b, int) and b == 1 else b for a, b in zip(source, target, strict=True)])


@op("Tile", raw=(1, 2))
def tile(call: Any, x: Tensor, repeats: Value, axis: Value = None) -> Tensor:
    times = call.ints(repeats)
    if axis is not None and call.version < 6:
        return torch.cat([x] * times[0], call.ints(axis)[0])
    return x.repeat(times)


@op("Concat")
def concat(call: Any, *values: Tensor) -> Tensor:
    return torch.cat(values, call.attr("axis", 1))


@op("Split", raw=(1,))
def split(call: Any, x: Tensor, sizes: Value = None) -> tuple[Tensor, ...]:
    axis = call.attr("axis", 0)
    part_sizes = call.either("split", sizes)
    if part_sizes is None:
        parts = call.attr("num_outputs", len(call.outputs))
        each = -(-x.shape[axis] // parts) if call.version >= 18 else x.shape[axis] // parts
        part_sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    return tuple(torch.split(x, part_sizes, axis))


@op("Slice", raw=(1, 2, 3, 4))
def slice_(
    call: Any, x: Tensor, starts: Value = None, ends: Value = None, axes: Value = None, steps: Value = None
) -> Tensor:
    begins, stops = call.either("starts", starts), call.either("ends", ends)
    chosen_axes = call.either("axes", axes) or list(range(len(begins)))
    stride = call.ints(steps) if steps is not None else [1] * len(begins)
    for axis, start, end, step in zip(chosen_axes, begins, stops, stride, strict=True):
        if step > 0:
            x = torch.ops.aten.slice.Tensor(x, axis, start, end, step)
            continue
        length = x.shape[axis]
        if isinstance(start, int) and isinstance(end, int) and start == -1 and end <= -(1 << 31) and step == -1:
            x = x.flip(axis)
            continue
        if isinstance(length, torch.SymInt):
            raise call.fail("a negative step over a dynamic dimension")
        start = min(max(start + length if start < 0 else start, -1), length - 1)
        end = min(max(end + length if end < 0 else end, -1), length - 1) if end >= -length else -1
        x = x.index_select(axis, torch.arange(start, end, step))
    return x


def source_index(mode: str, before: Any, length: Any, after: Any) -> Tensor:
    """Returns for each position of the padded axis the position that its value comes from."""
    k = torch.arange(-before, length + after)
    if mode == "edge":
        return k.clamp(min=0, max=length - 1)
    if mode == "wrap":
        return k.remainder(length)
    period = 2 * (length - 1)
    if isinstance(length, int) and length == 1:
        return k * 0
    k = k.remainder(period)
    return torch.where(k >= length, period - k, k)


@op("Pad", raw=(1, 2, 3))
def pad(call: Any, x: Tensor, pads: Value = None, value: Value = None, axes: Value = None) -> Tensor:
    amounts = call.either("pads", pads) or call.attr("paddings")
    chosen_axes = call.ints(axes) if axes is not None else list(range(x.ndim))
    count, mode = len(chosen_axes), call.attr("mode", "constant")
    if mode == "constant":
        flat = [0] * (2 * x.ndim)
        for k, axis in enumerate(chosen_axes):
            at = 2 * (x.ndim - 1 - axis % x.ndim)
            flat[at], flat[at + 1] = amounts[k], amounts[k + count]
        fill = call.attr("value", 0.0) if value is None else call.number(value)
        fill = fill if x.dtype.is_floating_point else int(fill)
        return to(F.pad(wide(x)[0], flat, value=fill), x.dtype)
    for k, axis in enumerate(chosen_axes):
        before, after = amounts[k], amounts[k + count]
        if isinstance(before, int) and before < 0:
            x, before = x.narrow(axis, -before, x.shape[axis] + before), 0
        if isinstance(after, int) and after < 0:
            x, after = x.narrow(axis, 0, x.shape[axis] + after), 0
        if not (isinstance(before, int) and isinstance(after, int) and before == after == 0):
            x = x.index_select(axis, source_index(mode, before, x.shape[axis], after))
    return x


@op("Range", raw=True)
def range_(call: Any, start: Value, limit: Value, delta: Value) -> Tensor:
    begin, stop, step = call.number(start), call.number(limit), call.number(delta)
    if start.dtype.is_floating_point:
        count = max(0, -int(-((stop - begin) / step) // 1))
        return torch.arange(count).to(start.dtype) * step + begin
    return torch.arange(begin, stop, step, dtype=torch.int64).to(start.dtype)


@op("EyeLike", raw=True)
def eye_like(call: Any, x: Value) -> Tensor:
    rows, columns = x.array.shape if isinstance(x, Known) else x.shape
    dtype = element_type(call, call.attr("dtype")) if call.attr("dtype") else x.dtype
    return (torch.arange(columns) - torch.arange(rows).unsqueeze(1) == call.attr("k", 0)).to(dtype)


@op("Trilu", raw=(1,))
def trilu(call: Any, x: Tensor, k: Value = None) -> Tensor:
    diagonal = 0 if k is None else call.ints(k)[0]
    return torch.triu(x, diagonal) if call.attr("upper", 1) else torch.tril(x, diagonal)


@op("DepthToSpace")
def depth_to_space(call: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.attr("blocksize")
    if call.attr("mode", "DCR") == "CRD":
        return x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // (b * b), h * b, w * b)
    return x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@op("SpaceToDepth")
def space_to_depth(call: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.attr("blocksize")
    parts = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 1, 3, 5, 2, 4) if call.attr("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return parts.permute(order).reshape(n, c * b * b, h // b, w // b)
