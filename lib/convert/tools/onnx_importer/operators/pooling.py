"""Max, average and Lp pooling, over windows or globally, and MaxUnpool."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from lib.convert.tools.onnx_importer.operators.convolution import CONV, padded, paddings
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value, to

Tensor = torch.Tensor
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MAX_WITH_INDICES = {1: F.max_pool1d_with_indices, 2: F.max_pool2d_with_indices, 3: F.max_pool3d_with_indices}
MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class Window:
    """Kernel, strides, dilations and paddings. ``extra``: padding that ceil_mode's last window needs at the far end."""

    def __init__(self, call: Any, x: Tensor) -> None:
        self.kernel = list(call.attr("kernel_shape"))
        rank = self.rank = len(self.kernel)
        if rank not in MAX:
            raise call.fail(f"{rank} spatial axes")
        self.strides = call.attr("strides") or [1] * rank
        self.dilations = call.attr("dilations") or [1] * rank
        self.before, self.after = paddings(call, x.shape[2:], self.kernel, self.strides, self.dilations)
        self.extra = [0] * rank
        if call.attr("ceil_mode", 0):
            for k in range(rank):
                span = x.shape[2 + k] + self.before[k] + self.after[k] - self.dilations[k] * (self.kernel[k] - 1) - 1
                count = -(-span // self.strides[k]) + 1
                # no window starts in the padding after the input
                if (count - 1) * self.strides[k] >= x.shape[2 + k] + self.before[k]:
                    count -= 1
                self.extra[k] = (count - 1) * self.strides[k] - span
                if isinstance(self.extra[k], int):
                    self.extra[k] = max(self.extra[k], 0)

    @property
    def simple(self) -> bool:
        """Whether torch's own padding is enough: the same at both ends and at most half the kernel."""
        numbers = all(isinstance(p, int) for p in (*self.before, *self.after, *self.extra))
        return numbers and self.before == self.after and not any(self.extra) and all(
            2 * p <= k for p, k in zip(self.before, self.kernel, strict=True)
        )  # fmt: skip


@op("MaxPool")
def max_pool(call: Any, x: Tensor) -> Any:
    dtype, window = x.dtype, Window(call, x)
    low = -math.inf
    if not dtype.is_floating_point or dtype == torch.float16:
        x = x.to(torch.float32)
    if not call.wants(1):
        pool = MAX[window.rank]
        if window.simple:
            return to(pool(x, window.kernel, window.strides, window.before, window.dilations), dtype)
        after = [a + e for a, e in zip(window.after, window.extra, strict=True)]
        return to(pool(padded(x, window.before, after, low), window.kernel, window.strides, 0, window.dilations), dtype)
    after = [a + e for a, e in zip(window.after, window.extra, strict=True)]
    wide = padded(x, window.before, after, low)
    out, at = MAX_WITH_INDICES[window.rank](wide, window.kernel, window.strides, 0, window.dilations)
    return to(out, dtype), _positions(call, at, x, wide, window)


def _positions(call: Any, at: Tensor, x: Tensor, wide: Tensor, window: Window) -> Tensor:
    """Converts torch's indices, which count within a padded plane, to ONNX's, which count over the unpadded tensor."""
    axes = []
    for k in reversed(range(window.rank)):
        axes.insert(0, at % wide.shape[2 + k] - window.before[k])
        at = at // wide.shape[2 + k]
    order = list(range(window.rank))
    if call.attr("storage_order", 0):
        order.reverse()
    flat = torch.zeros_like(at)
    for k in order:
        flat = flat * x.shape[2 + k] + axes[k]
    n, c = x.shape[:2]
    picture = x.shape[2:].numel()
    return flat + (torch.arange(n * c) * picture).reshape(n, c, *[1] * window.rank)


def window_sums(x: Tensor, window: Window, far: list) -> Tensor:
    """Sums ``x`` over every window, with zeros outside."""
    c = x.shape[1]
    ones = torch.ones(c, 1, *window.kernel, dtype=x.dtype)
    return CONV[window.rank](padded(x, window.before, far), ones, None, window.strides, 0, window.dilations, c)


@op("AveragePool")
def average_pool(call: Any, x: Tensor) -> Tensor:
    window, inside = Window(call, x), bool(call.attr("count_include_pad", 0))
    if window.simple and all(d == 1 for d in window.dilations):
        return MEAN[window.rank](x, window.kernel, window.strides, window.before, False, inside)
    after = [a + e for a, e in zip(window.after, window.extra, strict=True)]
    counted = torch.ones_like(x[:1, :1])
    if inside:  # the padding counts, except for what ceil_mode adds
        counted = padded(counted, window.before, window.after, 1.0)
        ones = torch.ones(1, 1, *window.kernel, dtype=x.dtype)
        counts = CONV[window.rank](
            padded(counted, [0] * window.rank, window.extra), ones, None, window.strides, 0, window.dilations
        )
    else:
        counts = window_sums(counted, window, after)
    return window_sums(x, window, after) / counts


@op("LpPool")
def lp_pool(call: Any, x: Tensor) -> Tensor:
    window, p = Window(call, x), call.attr("p", 2)
    after = [a + e for a, e in zip(window.after, window.extra, strict=True)]
    return window_sums(x.abs() ** p, window, after) ** (1 / p)


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


@op("GlobalAveragePool")
def global_average_pool(call: Any, x: Tensor) -> Tensor:
    return x.mean(_spatial(x), keepdim=True)


@op("GlobalMaxPool")
def global_max_pool(call: Any, x: Tensor) -> Tensor:
    return x.amax(_spatial(x), keepdim=True)


@op("GlobalLpPool")
def global_lp_pool(call: Any, x: Tensor) -> Tensor:
    p = call.attr("p", 2)
    return (x.abs() ** p).sum(_spatial(x), keepdim=True) ** (1 / p)


@op("MaxUnpool", raw=(2,))
def max_unpool(call: Any, x: Tensor, at: Tensor, shape: Value = None) -> Tensor:
    kernel = call.attr("kernel_shape")
    rank = len(kernel)
    strides, pads = call.attr("strides") or [1] * rank, call.attr("pads") or [0] * (2 * rank)
    unpooled_sizes = [(x.shape[2 + k] - 1) * strides[k] - pads[k] - pads[k + rank] + kernel[k] for k in range(rank)]
    sizes = call.ints(shape)[2:] if shape is not None else unpooled_sizes
    total = x.shape[0] * x.shape[1]
    for d in unpooled_sizes:
        total = total * d
    flat = torch.zeros(total, dtype=x.dtype).scatter(0, at.reshape(-1), x.reshape(-1))
    out = flat.reshape(*x.shape[:2], *unpooled_sizes)
    return padded(out, [0] * rank, [s - o for s, o in zip(sizes, unpooled_sizes, strict=True)])
