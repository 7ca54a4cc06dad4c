"""The two kinds of values in an imported graph: tensors, and small arrays known to Python.

Shapes, axes and repeats must be known to Python. ``Known`` holds such values; sizes of dynamic dimensions among them stay
symbolic, so that an exported program keeps them dynamic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lib.convert.core.torch_values import from_numpy, numpy_dtype

MAX_ELEMENTS = 1024  # larger values stay tensors

WIDER = {
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}  # torch supports few operations on these
Value = Any  # torch.Tensor | Known | list (a sequence) | None (absent)


@dataclass(slots=True)
class Known:
    """A value known to Python. ``array`` has dtype object if it contains symbolic sizes; ``dtype`` is its dtype in ONNX.

    ``tensor``: the same value as a buffer, if there is one.
    """

    array: np.ndarray
    dtype: torch.dtype
    tensor: torch.Tensor | None = None

    @property
    def symbolic(self) -> bool:
        """Whether the array contains symbolic sizes."""
        return self.array.dtype == object


def known(value: Any, dtype: torch.dtype = torch.int64) -> Known:
    """Creates a ``Known`` from Python numbers, symbolic sizes or nested lists of them."""
    array = np.array(value, object)
    plain = all(isinstance(v, bool | int | float | np.generic) for v in array.reshape(-1))
    return Known(array.astype(numpy_dtype(dtype)) if plain else array, dtype)


def as_tensor(value: Value) -> Value:
    """Converts a ``Known`` to a tensor; returns everything else unchanged."""
    if not isinstance(value, Known):
        return value
    if value.tensor is not None:
        return value.tensor
    if not value.array.size:  # torch.export cannot save an empty constant
        return torch.zeros(value.array.shape, dtype=value.dtype)
    if not value.symbolic:
        return from_numpy(value.array)
    parts = [torch.full((), v, dtype=value.dtype) for v in value.array.reshape(-1)]
    return torch.stack(parts).reshape(value.array.shape) if parts else torch.zeros(value.array.shape, dtype=value.dtype)


def to(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Casts ``x``; adds no node to the exported graph if the dtype is right already."""
    return x if x.dtype == dtype else x.to(dtype)
