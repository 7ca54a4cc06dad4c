"""Image operators: grid sampling, regions, boxes, cropping; also Binarizer and TfIdfVectorizer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value

Tensor = torch.Tensor
MODES = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}
MAX_BOXES = 512  # suppression is unrolled, so more boxes would make the program too large


@op("GridSample")
def grid_sample(call: Any, x: Tensor, grid: Tensor) -> Tensor:
    mode = MODES[call.attr("mode", "linear")]
    if x.ndim not in (4, 5) or (x.ndim == 5 and mode == "bicubic"):
        raise call.fail(f"{mode} over {x.ndim - 2} spatial axes")
    return F.grid_sample(x, grid, mode, call.attr("padding_mode", "zeros"), bool(call.attr("align_corners", 0)))


@op("AffineGrid", raw=(1,))
def affine_grid(call: Any, theta: Tensor, size: Value) -> Tensor:
    return F.affine_grid(theta, call.ints(size), align_corners=bool(call.attr("align_corners", 0)))


@op("RoiAlign")
def roi_align(call: Any, x: Tensor, rois: Tensor, batch: Tensor) -> Tensor:
    """Pools regions (n, 4). Raises Unsupported for sampling_ratio 0, which depends on each region's size."""
    rows, columns = call.attr("output_height", 1), call.attr("output_width", 1)
    ratio, scale = call.attr("sampling_ratio", 0), call.attr("spatial_scale", 1.0)
    if ratio < 1:
        raise call.fail("sampling_ratio 0, which depends on each region's size")
    default = "half_pixel" if call.version >= 16 else "output_half_pixel"
    half = call.attr("coordinate_transformation_mode", default) == "half_pixel"
    boxes = rois * scale - (0.5 if half else 0.0)
    x1, y1, x2, y2 = boxes.unbind(1)
    width, height = x2 - x1, y2 - y1
    if not half:
        width, height = width.clamp(min=1), height.clamp(min=1)
    steps_y = (torch.arange(rows * ratio, dtype=x.dtype) + 0.5) / (rows * ratio)
    steps_x = (torch.arange(columns * ratio, dtype=x.dtype) + 0.5) / (columns * ratio)
    at_y, at_x = y1.unsqueeze(1) + steps_y * height.unsqueeze(1), x1.unsqueeze(1) + steps_x * width.unsqueeze(1)
    values = _inside(x[batch.to(torch.int64)], at_y, at_x, call.attr("mode", "avg") == "max")
    cells = values.reshape(values.shape[0], values.shape[1], rows, ratio, columns, ratio, -1)
    return cells.amax((3, 5, 6)) if call.attr("mode", "avg") == "max" else cells.squeeze(-1).mean((3, 5))


def _inside(x: Tensor, ys: Tensor, xs: Tensor, apart: bool) -> Tensor:
    """Samples bilinearly at rows × columns, with 0 more than one pixel outside.

    Returns [n, c, rows, columns, 1], or with ``apart`` the four weighted corners unsummed on the last axis.
    """
    n, c, h, w = x.shape

    def corners(at: Tensor, size: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        valid = (at >= -1) & (at <= size)
        at = at.clamp(0, size - 1)
        low = at.floor()
        return low.to(torch.int64), (low + 1).clamp(max=size - 1).to(torch.int64), at - low, valid

    y0, y1, fy, vy = corners(ys, h)
    x0, x1, fx, vx = corners(xs, w)
    valid = (vy.unsqueeze(2) & vx.unsqueeze(1)).unsqueeze(1)
    parts = []
    for ry, wy in ((y0, 1 - fy), (y1, fy)):
        band = torch.gather(x, 2, ry.reshape(n, 1, -1, 1).expand(n, c, ry.shape[1], w))
        for rx, wx in ((x0, 1 - fx), (x1, fx)):
            value = torch.gather(band, 3, rx.reshape(n, 1, 1, -1).expand(n, c, ry.shape[1], rx.shape[1]))
            weight = (wy.unsqueeze(2) * wx.unsqueeze(1)).unsqueeze(1)
            parts.append(torch.where(valid, value * weight, torch.zeros_like(value)))
    return torch.stack(parts, -1) if apart else (parts[0] + parts[1] + parts[2] + parts[3]).unsqueeze(-1)


@op("NonMaxSuppression", raw=(2, 3, 4))
def non_max_suppression(
    call: Any, boxes: Tensor, scores: Tensor, most: Value = None, overlap: Value = None, least: Value = None
) -> Tensor:
    """Returns [selected, 3]: batch, class, box. Greedy, unrolled over the boxes in order of their scores."""
    count = int(call.number(most)) if most is not None else 0
    bound = float(call.number(overlap)) if overlap is not None else 0.0
    n, total = boxes.shape[:2]
    if not isinstance(n, int) or not isinstance(total, int) or total > MAX_BOXES:
        raise call.fail(f"only a fixed number of boxes, at most {MAX_BOXES}")
    a, b, c, d = boxes.unbind(-1)
    if call.attr("center_point_box", 0):  # x, y of the centre, width, height
        x1, x2, y1, y2 = a - c / 2, a + c / 2, b - d / 2, b + d / 2
    else:
        y1, y2, x1, x2 = torch.minimum(a, c), torch.maximum(a, c), torch.minimum(b, d), torch.maximum(b, d)
    area = (y2 - y1) * (x2 - x1)
    high = torch.minimum(y2.unsqueeze(2), y2.unsqueeze(1)) - torch.maximum(y1.unsqueeze(2), y1.unsqueeze(1))
    wide = torch.minimum(x2.unsqueeze(2), x2.unsqueeze(1)) - torch.maximum(x1.unsqueeze(2), x1.unsqueeze(1))
    common = high.clamp(min=0) * wide.clamp(min=0)
    union = area.unsqueeze(2) + area.unsqueeze(1) - common
    close = torch.where(union > 0, common / union, torch.zeros_like(union)) > bound  # (n, boxes, boxes)
    chosen = []
    for k in range(n):
        for kind in range(scores.shape[1]):
            sorted_scores, order = torch.sort(scores[k, kind], descending=True, stable=True)
            overlaps = close[k][order][:, order]
            alive = (
                torch.ones_like(sorted_scores, dtype=torch.bool)
                if least is None
                else sorted_scores > float(call.number(least))
            )
            for j in range(total):
                after = torch.arange(total) > j
                alive = alive & ~(overlaps[j] & after & alive[j])
            alive = alive & (torch.cumsum(alive.to(torch.int64), 0) <= count)
            positions = torch.nonzero(alive).reshape(-1)
            selected = order[positions]
            chosen.append(torch.stack([torch.full_like(selected, k), torch.full_like(selected, kind), selected], 1))
    return torch.cat(chosen)


@op("CenterCropPad", raw=(1,))
def center_crop_pad(call: Any, x: Tensor, shape: Value) -> Tensor:
    sizes = call.ints(shape)
    axes = call.attr("axes") or list(range(x.ndim))
    for axis, size in zip(axes, sizes, strict=True):
        have = x.shape[axis]
        if have > size:
            x = x.narrow(axis, (have - size) // 2, size)
        elif have < size:
            before = (size - have) // 2
            flat = [0] * (2 * x.ndim)
            at = 2 * (x.ndim - 1 - axis % x.ndim)
            flat[at], flat[at + 1] = before, size - have - before
            x = F.pad(x, flat)
    return x


@op("Binarizer", domain="ai.onnx.ml")
def binarizer(call: Any, x: Tensor) -> Tensor:
    return (x > call.attr("threshold", 0.0)).to(x.dtype)


@op("TfIdfVectorizer")
def tf_idf(call: Any, x: Tensor) -> Tensor:
    """Counts n-grams of integers, with up to ``max_skip_count`` skipped elements between their members."""
    pool, starts = call.attr("pool_int64s"), call.attr("ngram_counts")
    if pool is None:
        raise call.fail("text")
    low, high, skips = call.attr("min_gram_length"), call.attr("max_gram_length"), call.attr("max_skip_count")
    places, mode, weights = call.attr("ngram_indexes"), call.attr("mode"), call.attr("weights")
    rows = x.reshape(1, -1) if x.ndim == 1 else x
    columns = [torch.zeros(rows.shape[0], dtype=torch.int64) for _ in range(max(places) + 1)]
    scale = [1.0] * len(columns)
    gram = 0
    for k, start in enumerate(starts):
        end = starts[k + 1] if k + 1 < len(starts) else len(pool)
        for at in range(start, end, k + 1):
            if low <= k + 1 <= high:
                columns[places[gram]] = _count(rows, pool[at : at + k + 1], skips)
                scale[places[gram]] = weights[gram] if weights else 1.0
            gram += 1
    counts = torch.stack(columns, 1).to(torch.float32)
    if mode != "TF":
        counts = (counts > 0).to(torch.float32) * torch.tensor(scale) if mode == "IDF" else counts * torch.tensor(scale)
    return counts.reshape(-1) if x.ndim == 1 else counts


def _count(rows: Tensor, gram: list[int], skips: int) -> Tensor:
    out = torch.zeros(rows.shape[0], dtype=torch.int64)
    for gap in range(1, (skips if len(gram) > 1 else 0) + 2):
        span = (len(gram) - 1) * gap
        if rows.shape[1] <= span:
            continue
        hits = torch.ones(rows.shape[0], rows.shape[1] - span, dtype=torch.bool)
        for j, token in enumerate(gram):
            hits = hits & (rows[:, j * gap : rows.shape[1] - span + j * gap] == token)
        out = out + hits.sum(1)
    return out
