"""Patches strided "same" padding in Keras' torch backend, so that models export with dynamic heights and widths.

Keras branches on the size to pad evenly or not, so a trace is only valid for sizes of the same kind. The patch computes
the amounts from the size inside the graph. Relies on private functions of Keras 3.15.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def computed() -> Iterator[None]:
    """Context in which convolutions and max pooling compute their padding in the graph.

    Average pooling with dynamic sizes raises ValueError: for it, Keras' torch backend repeats the edge if the padding
    is uneven and excludes the padding if it is even.
    """
    from keras.src.backend.torch import nn

    originals = {name: getattr(nn, name) for name in ("_apply_same_padding", "average_pool")}

    def same(inputs: Any, kernel: Any, strides: Any, layout: str, operation: str, dilation: Any = 1) -> tuple[Any, Any]:
        import torch

        sizes = inputs.shape[2:]
        if all(isinstance(s, int) for s in sizes) or all(s == 1 for s in strides):
            return originals["_apply_same_padding"](inputs, kernel, strides, layout, operation, dilation)
        rates = [1] * len(sizes) if operation == "pooling" else nn.standardize_tuple(dilation, len(sizes), "dilation_rate")
        amounts: list[Any] = []
        for size, width, stride, rate in reversed(list(zip(sizes, kernel, strides, rates, strict=True))):
            reach = (width - 1) * rate + 1
            if stride == 1:
                total = reach - 1
            else:
                total = ((size + stride - 1) // stride - 1) * stride + reach - size
                total = total if reach >= stride else torch.sym_max(total, 0)
            amounts += [total // 2, total - total // 2]
        fill = float("-inf") if operation == "pooling" else 0.0
        return torch.nn.functional.pad(inputs, amounts, value=fill), 0

    def average(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", *rest: Any, **named: Any) -> Any:
        if padding == "same" and not all(isinstance(s, int) for s in inputs.shape[1:]):
            raise ValueError('Keras averages even and odd sizes differently with padding="same"')
        nn._apply_same_padding = originals["_apply_same_padding"]
        try:
            return originals["average_pool"](inputs, pool_size, strides, padding, *rest, **named)
        finally:
            nn._apply_same_padding = same

    nn._apply_same_padding, nn.average_pool = same, average
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(nn, name, function)
