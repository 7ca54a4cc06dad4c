"""Resize and Upsample, one axis at a time: every output position is a weighted sum of input positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value

Tensor = torch.Tensor


class Axis:
    """How one axis is resized: from ``size`` to ``new``, with positions computed by ``scale``."""

    def __init__(self, size: Any, new: Any, scale: float) -> None:
        self.size, self.new, self.scale = size, new, scale


def coordinates(mode: str, axis: Axis, start: float, end: float) -> np.ndarray:
    """Returns the position in the input axis of every output position, float64."""
    k, s, old, new = np.arange(axis.new, dtype=np.float64), axis.scale, axis.size, axis.new
    if mode == "asymmetric":
        return k / s
    if mode == "align_corners":
        return k * (old - 1) / (s * old - 1) if s * old != 1 and new > 1 else k * 0
    if mode == "pytorch_half_pixel":
        return (k + 0.5) / s - 0.5 if s * old > 1 else k * 0 - 0.5
    if mode == "tf_half_pixel_for_nn":
        return (k + 0.5) / s
    if mode == "tf_crop_and_resize":
        if new > 1:
            return start * (old - 1) + k * (end - start) * (old - 1) / (s * old - 1)
        return k * 0 + 0.5 * (start + end) * (old - 1)
    if mode == "half_pixel_symmetric":
        centre = old / 2
        return centre * (1 - new / (s * old)) + (k + 0.5) / s - 0.5
    return (k + 0.5) / s - 0.5  # half_pixel


def nearest(x: np.ndarray, how: str) -> np.ndarray:
    if how == "round_prefer_floor":
        return np.ceil(x - 0.5)
    if how == "round_prefer_ceil":
        return np.floor(x + 0.5)
    return np.floor(x) if how == "floor" else np.ceil(x)


def cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Cubic convolution weights at distance ``d`` (Keys 1981), with coefficient ``a``."""
    d = np.abs(d)
    inner = (a + 2) * d**3 - (a + 3) * d**2 + 1
    outer = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0))


def matrix(call: Any, mode: str, axis: Axis, at: np.ndarray) -> np.ndarray:
    """Returns the interpolation weights, [new size, old size]."""
    old, out = axis.size, np.zeros((axis.new, axis.size))
    if mode == "nearest":
        index = np.clip(nearest(at, call.attr("nearest_mode", "round_prefer_floor")), 0, old - 1).astype(int)
        out[np.arange(axis.new), index] = 1
        return out
    a = call.attr("cubic_coeff_a", -0.75)
    squeeze = min(axis.scale, 1.0) if call.attr("antialias", 0) else 1.0
    reach = (1 if mode == "linear" else 2) / squeeze
    for j, x in enumerate(at):
        places = np.arange(int(np.floor(x - reach)), int(np.ceil(x + reach)) + 1)
        distance = (places - x) * squeeze
        weights = np.clip(1 - np.abs(distance), 0, None) if mode == "linear" else cubic(distance, a)
        if call.attr("exclude_outside", 0):
            weights = np.where((places >= 0) & (places < old), weights, 0)
        if call.attr("exclude_outside", 0) or call.attr("antialias", 0):
            weights = weights / weights.sum()
        np.add.at(out[j], np.clip(places, 0, old - 1), weights)
    return out


def sizes_and_scales(call: Any, x: Tensor, scales: Value, sizes: Value) -> tuple[list[int], list[Axis]]:
    axes = [a % x.ndim for a in call.attr("axes") or range(x.ndim)]
    if scales is not None and call.numbers(scales).size:
        factors = [float(s) if not isinstance(s, torch.SymFloat) else s for s in call.numbers(scales).reshape(-1)]
        resized = []
        for a, f in zip(axes, factors, strict=True):
            if isinstance(f, float) and f == 1:
                resized.append(Axis(x.shape[a], x.shape[a], 1.0))
            else:
                resized.append(Axis(x.shape[a], _floor(call, x.shape[a], f), f))
        return axes, resized
    target_sizes, policy = call.ints(sizes), call.attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return axes, [Axis(x.shape[a], n, _ratio(n, x.shape[a])) for a, n in zip(axes, target_sizes, strict=True)]
    ratios = [n / x.shape[a] for a, n in zip(axes, target_sizes, strict=True)]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return axes, [Axis(x.shape[a], int(np.floor(ratio * x.shape[a] + 0.5)), ratio) for a in axes]


def _floor(call: Any, size: Any, factor: Any) -> Any:
    if isinstance(size, int):
        return int(np.floor(size * np.float32(factor)))
    if isinstance(factor, float) and factor == int(factor):
        return size * int(factor)
    raise call.fail(f"a dynamic dimension times {factor}")


def _ratio(new: Any, old: Any) -> Any:
    if isinstance(new, int) and isinstance(old, int):
        return new / old
    return 1.0 if new is old or str(new) == str(old) else None


@op("Resize", "Upsample", raw=(1, 2, 3))
def resize(call: Any, x: Tensor, roi: Value = None, scales: Value = None, sizes: Value = None) -> Tensor:
    if call.node.op == "Upsample" or call.version < 11:
        roi, scales = None, roi
        if scales is None:
            from lib.convert.tools.onnx_importer.values import known

            scales = known(call.attr("scales"), torch.float32)
    old = call.node.op == "Upsample" or call.version < 11
    mode = call.attr("mode", "nearest")
    transform = "asymmetric" if old else call.attr("coordinate_transformation_mode", "half_pixel")
    if old:
        call.node.attributes.setdefault("nearest_mode", "floor")
    axes, parts = sizes_and_scales(call, x, scales, sizes)
    box = [float(v) for v in call.numbers(roi).reshape(-1)] if transform == "tf_crop_and_resize" else []
    dtype, outside = x.dtype, None
    for k, (a, part) in enumerate(zip(axes, parts, strict=True)):
        start, end = (box[k], box[k + len(axes)]) if box else (0.0, 1.0)
        if part.new is part.size or (part.scale == 1 and not box):
            continue
        if not isinstance(part.new, int) or not isinstance(part.size, int):
            x = dynamic(call, x, a, part, mode, transform)
            continue
        at = coordinates(transform, part, start, end)
        if mode == "nearest":
            index = np.clip(nearest(at, call.attr("nearest_mode", "round_prefer_floor")), 0, part.size - 1)
            x = x.index_select(a, torch.tensor(index.astype(np.int64).tolist(), dtype=torch.int64))
        else:
            weights = torch.tensor(matrix(call, {"linear": "linear", "cubic": "cubic"}[mode], part, at).tolist())
            kind = x.dtype if x.dtype.is_floating_point and x.dtype != torch.float16 else torch.float32
            x = torch.matmul(x.to(kind).movedim(a, -1), weights.to(kind).transpose(0, 1)).movedim(-1, a)
        if box:
            beyond = torch.tensor(((at < 0) | (at > part.size - 1)).tolist())
            beyond = beyond.reshape([-1 if j == a else 1 for j in range(x.ndim)])
            outside = beyond if outside is None else outside | beyond
    if outside is not None:
        x = torch.where(outside, call.attr("extrapolation_value", 0.0), x)
    return x if x.dtype == dtype else _back(x, dtype)


def _back(x: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype.is_floating_point:
        return x.to(dtype)
    bounds = torch.iinfo(dtype)
    return torch.round(x).clamp(bounds.min, bounds.max).to(dtype)


def dynamic(call: Any, x: Tensor, a: int, part: Axis, mode: str, transform: str) -> Tensor:
    """Resizes an axis of symbolic size: the program computes positions and weights. Raises Unsupported for some modes."""
    if mode == "cubic" or call.attr("antialias", 0) or transform not in ("asymmetric", "half_pixel", "align_corners",
                                                                         "pytorch_half_pixel"):  # fmt: skip
        raise call.fail(f"{mode}, {transform} over a dynamic dimension")
    k = torch.arange(part.new, dtype=torch.float64)
    step = part.size / part.new if part.scale is None else 1 / part.scale
    if transform == "align_corners":
        at = k * (torch.sym_float(part.size - 1) / torch.sym_float(torch.sym_max(part.new - 1, 1)))
    else:
        at = k * step if transform == "asymmetric" else (k + 0.5) * step - 0.5
    if mode == "nearest":
        how = call.attr("nearest_mode", "round_prefer_floor")
        index = {"round_prefer_floor": torch.ceil(at - 0.5), "round_prefer_ceil": torch.floor(at + 0.5),
                 "floor": torch.floor(at), "ceil": torch.ceil(at)}[how]  # fmt: skip
        return x.index_select(a, index.to(torch.int64).clamp(min=0).clamp(max=part.size - 1))
    at = at.clamp(min=0)
    low = torch.floor(at)
    share = (at - low).to(x.dtype).reshape([-1 if j == a else 1 for j in range(x.ndim)])
    lower = low.to(torch.int64).clamp(max=part.size - 1)
    upper = (lower + 1).clamp(max=part.size - 1)
    return x.index_select(a, lower) * (1 - share) + x.index_select(a, upper) * share
