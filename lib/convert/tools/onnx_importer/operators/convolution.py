"""Convolutions: forward, transposed, deformable and quantized; also Col2Im."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value

Tensor = torch.Tensor
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def paddings(call: Any, sizes: Any, kernel: list[int], strides: list[int], dilations: list[int]) -> tuple[list, list]:
    """Returns the padding before and after each spatial axis, from ``pads`` or ``auto_pad``."""
    auto, rank = call.attr("auto_pad", "NOTSET"), len(kernel)
    if auto in ("NOTSET", "", None):
        pads = call.attr("pads") or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    if auto == "VALID":
        return [0] * rank, [0] * rank
    before, after = [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        full = (-(-size // s) - 1) * s + (k - 1) * d + 1 - size
        full = max(full, 0) if isinstance(full, int) else torch.sym_max(full, 0)
        low = full // 2 if auto == "SAME_UPPER" else full - full // 2
        before.append(low)
        after.append(full - low)
    return before, after


def padded(x: Tensor, before: list, after: list, value: float = 0.0) -> Tensor:
    """Pads the spatial axes; returns ``x`` itself if there is nothing to add."""
    if not any(not isinstance(p, int) or p for p in (*before, *after)):
        return x
    flat = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    return F.pad(x, flat, value=value)


def convolve(call: Any, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    rank = w.ndim - 2
    if rank not in CONV:
        raise call.fail(f"{rank} spatial axes")
    strides, dilations = call.attr("strides") or [1] * rank, call.attr("dilations") or [1] * rank
    before, after = paddings(call, x.shape[2:], list(w.shape[2:]), strides, dilations)
    if all(isinstance(p, int) for p in (*before, *after)) and before == after:
        return CONV[rank](x, w, b, strides, before, dilations, call.attr("group", 1))
    return CONV[rank](padded(x, before, after), w, b, strides, 0, dilations, call.attr("group", 1))


@op("Conv")
def conv(call: Any, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    return convolve(call, x, w, b)


@op("ConvInteger")
def conv_integer(call: Any, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None) -> Tensor:
    x, w = x.to(torch.float64), w.to(torch.float64)  # float64 sums of byte products exactly
    x = x if x_zero is None else x - x_zero.reshape(())
    w = w if w_zero is None else w - w_zero.reshape([-1] + [1] * (w.ndim - 1) if w_zero.numel() > 1 else [])
    return convolve(call, x, w, None).to(torch.int32)


@op("ConvTranspose")
def conv_transpose(call: Any, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    rank = w.ndim - 2
    if rank not in TRANSPOSED:
        raise call.fail(f"{rank} spatial axes")
    strides, dilations = call.attr("strides") or [1] * rank, call.attr("dilations") or [1] * rank
    extra, group = call.attr("output_padding") or [0] * rank, call.attr("group", 1)
    auto, output_shape = call.attr("auto_pad", "NOTSET"), call.attr("output_shape")
    pads = call.attr("pads") or [0] * (2 * rank)
    before, after = list(pads[:rank]), list(pads[rank:])
    if output_shape or auto in ("SAME_UPPER", "SAME_LOWER"):
        for k in range(rank):
            full = (x.shape[2 + k] - 1) * strides[k] + extra[k] + (w.shape[2 + k] - 1) * dilations[k] + 1
            total = full - (output_shape[-rank + k] if output_shape else x.shape[2 + k] * strides[k])
            before[k] = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after[k] = total - before[k]
    plain = [isinstance(p, int) and p >= 0 for p in (*before, *after)]
    # torch's padding is symmetric; the difference at the far end goes into output_padding
    output_padding = [e + p - q for e, p, q in zip(extra, before, after, strict=True)] if all(plain) else [-1]
    if all(0 <= e < max(s, d) for e, s, d in zip(output_padding, strides, dilations, strict=False)) and all(plain):
        return TRANSPOSED[rank](x, w, b, strides, before, output_padding, group, dilations)
    out = TRANSPOSED[rank](x, w, b, strides, 0, 0, group, dilations)
    if any(extra) and b is not None:
        out = TRANSPOSED[rank](x, w, None, strides, 0, 0, group, dilations)
    out = padded(out, [-p for p in before], [e - p for e, p in zip(extra, after, strict=True)])
    return out + b.reshape(-1, *[1] * rank) if any(extra) and b is not None else out


@op("QLinearConv", raw=())
def qlinear_conv(
    call: Any, x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero: Tensor,
    y_scale: Tensor, y_zero: Tensor, b: Tensor | None = None,
) -> Tensor:  # fmt: skip
    per = [-1] + [1] * (w.ndim - 1)
    wide_x = x.to(torch.float64) - x_zero.reshape(())
    wide_w = w.to(torch.float64) - (w_zero.reshape(per) if w_zero.numel() > 1 else w_zero.reshape(()))
    out = convolve(call, wide_x, wide_w, None if b is None else b.to(torch.float64))
    scale = (x_scale.reshape(()) * w_scale / y_scale.reshape(())).to(torch.float64)
    out = out * (scale.reshape([-1] + [1] * (w.ndim - 2)) if scale.numel() > 1 else scale.reshape(()))
    bounds = torch.iinfo(y_zero.dtype)
    return (torch.round(out) + y_zero.reshape(())).clamp(bounds.min, bounds.max).to(y_zero.dtype)


def sampled(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Samples ``x`` (n, c, h, w) bilinearly at pixel positions (n, *places), zero outside; returns (n, c, *places)."""
    n, c, h, w = x.shape
    flat, places = x.reshape(n, c, -1), rows.shape[1:]
    top, left = torch.floor(rows), torch.floor(columns)
    out = torch.zeros(n, c, *places, dtype=x.dtype)
    for dy in (0, 1):
        for dx in (0, 1):
            r, k = top + dy, left + dx
            weight = (1 - (rows - r).abs()) * (1 - (columns - k).abs())
            weight = torch.where((r >= 0) & (r < h) & (k >= 0) & (k < w), weight, 0.0)
            index = (r.clamp(0, h - 1) * w + k.clamp(0, w - 1)).to(torch.int64).reshape(n, 1, -1).expand(n, c, -1)
            out = out + torch.gather(flat, 2, index).reshape(n, c, *places) * weight.unsqueeze(1)
    return out


@op("DeformConv")
def deform_conv(
    call: Any, x: Tensor, w: Tensor, offset: Tensor, b: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """2-D only. Samples the input once per kernel position, shifted by its offsets, then applies a 1 × 1 convolution."""
    if x.ndim != 4:
        raise call.fail(f"{x.ndim - 2} spatial axes")
    (n, c, _, _), (_, _, kh, kw) = x.shape, w.shape
    (sh, sw), (dh, dw) = call.attr("strides") or [1, 1], call.attr("dilations") or [1, 1]
    ph, pw, _, _ = call.attr("pads") or [0] * 4
    groups, parts = call.attr("group", 1), call.attr("offset_group", 1)
    oh, ow = offset.shape[2:]
    offset = offset.reshape(n, parts, kh * kw, 2, oh, ow)
    base_y = (torch.arange(oh) * sh - ph).reshape(oh, 1)
    base_x = (torch.arange(ow) * sw - pw).reshape(1, ow)
    pieces = []
    for part in range(parts):
        channels = x[:, part * (c // parts) : (part + 1) * (c // parts)]
        taps = []
        for k in range(kh * kw):
            rows = offset[:, part, k, 0] + (base_y + (k // kw) * dh)
            columns = offset[:, part, k, 1] + (base_x + (k % kw) * dw)
            tap = sampled(channels, rows, columns)
            if mask is not None:
                tap = tap * mask.reshape(n, parts, kh * kw, oh, ow)[:, part, k].unsqueeze(1)
            taps.append(tap)
        pieces.append(torch.stack(taps, 2))
    columns_ = torch.cat(pieces, 1).reshape(n, c * kh * kw, oh, ow)
    return F.conv2d(columns_, w.reshape(w.shape[0], -1, 1, 1), b, groups=groups)


@op("Col2Im", raw=(1, 2))
def col2im(call: Any, x: Tensor, image: Value, block: Value) -> Tensor:
    """Sums the columns back at their positions, for any number of spatial axes."""
    sizes, kernel = call.ints(image), call.ints(block)
    rank = len(sizes)
    strides, dilations = call.attr("strides") or [1] * rank, call.attr("dilations") or [1] * rank
    pads = call.attr("pads") or [0] * (2 * rank)
    if rank == 2 and pads[:2] == pads[2:]:
        return F.fold(x, sizes, kernel, dilations, pads[:2], strides)
    padded_sizes = [s + pads[k] + pads[k + rank] for k, s in enumerate(sizes)]
    index = torch.zeros((), dtype=torch.int64)
    for k in range(rank):
        steps = (padded_sizes[k] - dilations[k] * (kernel[k] - 1) - 1) // strides[k] + 1
        places = torch.arange(kernel[k]).unsqueeze(1) * dilations[k] + torch.arange(steps) * strides[k]
        shape = [1] * (2 * rank)
        shape[k], shape[k + rank] = kernel[k], steps
        index = index * padded_sizes[k] + places.reshape(shape)
    n, total = x.shape[0], 1
    for d in kernel:
        total *= d
    flat, length = x.reshape(n, x.shape[1] // total, -1), 1
    for d in padded_sizes:
        length = length * d
    out = torch.zeros(n, flat.shape[1], length, dtype=x.dtype).index_add(2, index.reshape(-1), flat)
    return padded(out.reshape(n, -1, *padded_sizes), [-p for p in pads[:rank]], [-p for p in pads[rank:]])
