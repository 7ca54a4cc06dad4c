"""Padding "same" with strides, for free heights and widths on Keras' torch backend while a model is exported.

Keras decides by the size whether it pads evenly, so one trace is only right for sizes of its kind. Here the amounts
are computed from the size, in the graph. Knows Keras 3.15's private function of this name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def computed() -> Iterator[None]:
    """Convolutions and max pooling pad by what the size asks for. Average pooling is refused where sizes are free.

    Keras' torch backend repeats the edge there where the padding is uneven, and leaves it out where it is even.
    """
    from keras.src.backend.torch import nn

    theirs = {name: getattr(nn, name) for name in ("_apply_same_padding", "average_pool")}

    def same(inputs: Any, kernel: Any, strides: Any, layout: str, operation: str, dilation: Any = 1) -> tuple[Any, Any]:
        import torch

        sizes = inputs.shape[2:]
        if all(isinstance(s, int) for s in sizes) or all(s == 1 for s in strides):
            return theirs["_apply_same_padding"](inputs, kernel, strides, layout, operation, dilation)
        rates = [1] * len(sizes) if operation == "pooling" else nn.standardize_tuple(dilation, len(sizes), "dilation_rate")
        amounts: list[Any] = []
        for size, width, stride, rate in reversed(list(zip(sizes, kernel, strides, rates, strict=True))):
            reach = (width - 1) * rate + 1
            if stride == 1:
                whole = reach - 1
            else:
                whole = ((size + stride - 1) // stride - 1) * stride + reach - size
                whole = whole if reach >= stride else torch.sym_max(whole, 0)
            amounts += [whole // 2, whole - whole // 2]
        fill = float("-inf") if operation == "pooling" else 0.0
        return torch.nn.functional.pad(inputs, amounts, value=fill), 0

    def average(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", *rest: Any, **named: Any) -> Any:
        if padding == "same" and not all(isinstance(s, int) for s in inputs.shape[1:]):
            raise ValueError("Keras averages otherwise at even sizes than at odd ones where padding is the same")
        nn._apply_same_padding = theirs["_apply_same_padding"]
        try:
            return theirs["average_pool"](inputs, pool_size, strides, padding, *rest, **named)
        finally:
            nn._apply_same_padding = same

    nn._apply_same_padding, nn.average_pool = same, average
    try:
        yield
    finally:
        for name, function in theirs.items():
            setattr(nn, name, function)
