"""Convert numpy arrays to torch tensors and back, including the dtypes of ml_dtypes (bfloat16, float8)."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch

TORCH = {
    "float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "int8": torch.int8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64,
    "uint8": torch.uint8, "uint16": torch.uint16, "uint32": torch.uint32, "uint64": torch.uint64,
    "bool": torch.bool, "complex64": torch.complex64, "complex128": torch.complex128,
    "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2,
    "float8_e4m3fnuz": torch.float8_e4m3fnuz, "float8_e5m2fnuz": torch.float8_e5m2fnuz,
}  # fmt: skip
NAMES = {v: k for k, v in TORCH.items()}


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """Return the numpy or ml_dtypes dtype of a torch dtype."""
    name = NAMES[dtype]
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """Copy an array to a tensor, including ml_dtypes. Raises KeyError for a dtype that torch lacks."""
    dtype = TORCH[array.dtype.name]
    array = np.array(array, copy=True, order="C")
    if array.dtype.isbuiltin == 2:
        bits = {1: np.uint8, 2: np.int16}[array.dtype.itemsize]
        return torch.from_numpy(array.view(bits)).view(dtype).reshape(array.shape)
    return torch.from_numpy(array)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Convert a tensor to an array, including ml_dtypes. Shares memory where possible."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype in (torch.bfloat16, *(TORCH[n] for n in TORCH if n.startswith("float8"))):
        bits = torch.uint8 if tensor.element_size() == 1 else torch.int16
        return tensor.view(bits).numpy().view(numpy_dtype(tensor.dtype))
    return tensor.numpy()
