"""The two kinds of values that an imported graph computes with: tensors, and small arrays that Python knows.

Shapes, axes and repeats must be known to Python, not only to the tensor library: ``Known`` holds such values, and
the sizes of dynamic dimensions among them stay symbols, so that an exported program keeps them dynamic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lib.convert.core.torch_values import from_numpy, numpy_dtype

MAX_ELEMENTS = 1024  # elements of a value that Python may know

WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}  # torch computes in few of these
Value = Any  # torch.Tensor | Known | list (a sequence) | None (absent)


@dataclass(slots=True)
class Known:
    """``array`` has dtype object where sizes of dynamic dimensions are in it; ``dtype`` is what ONNX says it is.

    ``tensor`` is the same value as a buffer, where there is one.
    """

    array: np.ndarray
    dtype: torch.dtype
    tensor: torch.Tensor | None = None

    @property
    def symbolic(self) -> bool:
        return self.array.dtype == object


def known(value: Any, dtype: torch.dtype = torch.int64) -> Known:
    """From Python numbers, sizes of dynamic dimensions and nested lists of them."""
    array = np.array(value, object)
    plain = all(isinstance(v, bool | int | float | np.generic) for v in array.reshape(-1))
    return Known(array.astype(numpy_dtype(dtype)) if plain else array, dtype)


def as_tensor(value: Value) -> Value:
    """A tensor of a ``Known``; everything else as it is."""
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
    """Without a node in the exported graph where nothing is to be done."""
    return x if x.dtype == dtype else x.to(dtype)
