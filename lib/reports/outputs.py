"""Outputs of a run: as JSON for the answer, and as an .npz to take away."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import JobFailed
from lib.onnx_model.words import clean
from lib.reports.difference import dtype_of, number
from lib.reports.values import real

LONGEST = 1000  # characters of an array's name in an .npz
SHOWN = 1000  # elements of an output that go into the answer
SHOWN_MAPS = 20  # maps of a sequence, and keys of a map


def described(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, np.ndarray):
        maps = isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)
        values = [_map(v) for v in value[:SHOWN_MAPS]] if maps else None
        return {"name": name, "dtype": "list of maps" if maps else type(value).__name__, "shape": None, "values": values}
    out = {"name": name, "dtype": dtype_of(value), "shape": list(value.shape)}
    if value.dtype.kind in "OSU":
        return out | {"values": [str(v)[:100] for v in value.reshape(-1)[:SHOWN]]}
    numbers = real(value).reshape(-1)
    finite = numbers[np.isfinite(numbers)]
    if finite.size:
        with np.errstate(over="ignore"):
            mean = number(finite.mean())
        out |= {"minimum": float(finite.min()), "maximum": float(finite.max()), "mean": mean}
    out["not_finite"] = int(numbers.size - finite.size)
    exact = value if value.dtype.kind in "iub" else numbers.reshape(value.shape)  # an id of 2⁵³ + 1 is no float
    shown = exact.reshape(-1)[:SHOWN] if numbers.size > SHOWN else exact
    out["complete"] = numbers.size <= SHOWN
    return out | {
        "values": json.loads(
            json.dumps(shown.tolist()).replace("NaN", '"nan"').replace("-Infinity", '"-inf"').replace("Infinity", '"inf"')
        )
    }


def _map(value: dict[Any, Any]) -> dict[str, Any]:
    """Of a ZipMap: one sample's score of each class."""
    found = {}
    for key, one in list(value.items())[:SHOWN_MAPS]:
        number = isinstance(one, int | float | np.number)
        found[str(key)[:100]] = (float(one) if np.isfinite(one) else str(one)) if number else str(one)[:100]
    return found


def save(path: Path, values: dict[str, Any]) -> None:
    """What ``np.load`` reads back. bfloat16, float8 and 4-bit go in as plain bytes: to be viewed as what they are."""
    try:
        # not np.savez: an output may be called "file", which is a parameter there
        with zipfile.ZipFile(path, "w") as archive:
            for k, (name, value) in enumerate(values.items()):
                if isinstance(value, np.ndarray):
                    name = name if len(name) <= LONGEST else f"{k}"  # a zip archive cannot hold any name
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, _plain(value), allow_pickle=False)
    except (ValueError, OSError) as error:
        raise JobFailed(f"The model ran, but {path.name} could not be written: {clean(str(error))}.") from None


def _plain(value: np.ndarray) -> np.ndarray:
    if value.dtype.isbuiltin == 2:  # of ml_dtypes
        return np.ascontiguousarray(value).view(np.dtype(("V", value.itemsize))).reshape(value.shape)
    return value.astype(str) if value.dtype == object else value
