"""Exchange named arrays of any dtype between the processes of a conversion, in an .npz file without pickle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
HEAD = "head"


def save(path: Path, arrays: Arrays) -> None:
    """Write arrays. bfloat16, float8 and 4-bit types are stored as bytes with their dtype's name, strings as fixed-width."""
    head = [[name, value.dtype.name, list(value.shape)] for name, value in arrays.items()]
    plain = {f"{k}": _plain(value) for k, value in enumerate(arrays.values())}
    np.savez(path, **plain, **{HEAD: np.array(json.dumps(head))})


def load(path: Path) -> Arrays:
    """Read arrays that ``save`` wrote. Pickles are rejected."""
    with np.load(path, allow_pickle=False) as archive:
        head = json.loads(str(archive[HEAD]))
        return {name: _back(archive[f"{k}"], dtype, shape) for k, (name, dtype, shape) in enumerate(head)}


def _plain(value: np.ndarray) -> np.ndarray:
    if value.dtype == object:
        return value.astype(str)
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8) if value.dtype.isbuiltin == 2 else value


def _back(value: np.ndarray, dtype: str, shape: list[int]) -> np.ndarray:
    if dtype == "object":
        return value.astype(object)
    if value.dtype == np.uint8 and dtype != "uint8":
        import ml_dtypes

        return value.view(getattr(ml_dtypes, dtype)).reshape(shape)
    return value
