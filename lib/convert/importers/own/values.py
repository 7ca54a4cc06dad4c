"""The two kinds of values that an imported graph computes with: tensors, and small arrays that Python knows.

Shapes, axes and repeats must be known to Python, not only to the tensor library: ``Known`` holds such values, and
the sizes of dynamic dimensions among them stay symbols, so that an exported program keeps them dynamic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import torch

MOST = 1024  # elements of a value that Python may know

TORCH = {
    "float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "int8": torch.int8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64,
    "uint8": torch.uint8, "uint16": torch.uint16, "uint32": torch.uint32, "uint64": torch.uint64,
    "bool": torch.bool, "complex64": torch.complex64, "complex128": torch.complex128,
    "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2,
    "float8_e4m3fnuz": torch.float8_e4m3fnuz, "float8_e5m2fnuz": torch.float8_e5m2fnuz,
}  # fmt: skip
NAMES = {v: k for k, v in TORCH.items()}
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


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    name = NAMES[dtype]
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """A copy, also of the dtypes that numpy does not have by itself. Raises KeyError for those torch lacks."""
    dtype = TORCH[array.dtype.name]
    array = np.array(array, copy=True, order="C")
    if array.dtype.isbuiltin == 2:
        bits = {1: np.uint8, 2: np.int16}[array.dtype.itemsize]
        return torch.from_numpy(array.view(bits)).view(dtype).reshape(array.shape)
    return torch.from_numpy(array)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().contiguous()
    if tensor.dtype in (torch.bfloat16, *(TORCH[n] for n in TORCH if n.startswith("float8"))):
        bits = torch.uint8 if tensor.element_size() == 1 else torch.int16
        return tensor.view(bits).numpy().view(numpy_dtype(tensor.dtype))
    return tensor.numpy()


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
