"""Calibration data for static quantisation: samples of a visitor's .npz file, or random ones from the signature.

A sample is one set of arrays by input name. Knows nothing of models.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.convert import feeds
from lib.errors import InvalidFile
from lib.model_inputs.signature import Signature, Value, dtype

MAX_BYTES = 1 << 30  # of all arrays together
MOST = 1024  # samples
OTHER = 1000  # seeds start here: the proof's own inputs must not be what the ranges were measured on
Sample = dict[str, np.ndarray]


class Reader:
    """What onnxruntime's calibrator reads from: ``get_next`` gives sample after sample, then None."""

    def __init__(self, samples: list[Sample], report: Callable[[float], object]) -> None:
        self._samples, self._report, self._next = samples, report, 0

    def get_next(self) -> Sample | None:
        if self._next >= len(self._samples):
            return None
        self._next += 1
        self._report(self._next / len(self._samples))
        return self._samples[self._next - 1]


def made(signature: Signature, count: int) -> list[Sample]:
    """``count`` random samples as the proof makes its inputs, from other seeds, every second of other sizes."""
    out: list[Sample] = []
    for seed in range(OTHER, OTHER + count):
        sizes = [c.arrays for c in feeds.cases(signature, (seed,)) if c.kind in ("ordinary", "resized")]
        out.append(sizes[seed % len(sizes)])
    return out


def from_npz(path: Path, signature: Signature) -> list[Sample]:
    """Arrays of the input's rank are cut along their first axis into batches; of one more rank, into samples.

    Raises InvalidFile for anything but plain numeric arrays (a pickled array is never opened), other names,
    shapes or kinds of dtype than the model takes, and unequal numbers of samples.
    """
    found = _arrays(path)
    names = [v.name for v in signature.inputs]
    takes = "; ".join(f"{v.name} {v.dtype} {_shape(v)}" for v in signature.inputs[:20])
    if sorted(found) != sorted(names):
        raise InvalidFile(f"The calibration file has the arrays {_few(list(found))}. The model takes: {takes}.")
    cut = {v.name: _cut(v, found[v.name], takes) for v in signature.inputs}
    counts = {name: len(parts) for name, parts in cut.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise InvalidFile(f"The calibration file has unequal numbers of samples: {said}.")
    count = next(iter(counts.values()), 0)
    if not 1 <= count <= MOST:
        raise InvalidFile(f"The calibration file has {count} samples; 1 to {MOST} are taken.")
    return [{name: parts[k] for name, parts in cut.items()} for k in range(count)]


def _arrays(path: Path) -> Sample:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(i.file_size for i in archive.infolist())
        if total > MAX_BYTES:
            raise InvalidFile(
                f"The calibration file takes {total >> 20} MB unpacked; at most {MAX_BYTES >> 20} MB are taken."
            )
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        if not all(isinstance(value, np.ndarray) for value in found.values()):
            raise ValueError("a file in the archive is no array")
    except InvalidFile:
        raise
    except Exception:  # of zipfile, zlib, struct and numpy; a MemoryError where a header lies about a shape
        raise InvalidFile(
            "The calibration file is no .npz with plain arrays. Make one with numpy.savez(file, **{name: array})."
        ) from None
    return found


def _cut(value: Value, array: np.ndarray, takes: str) -> list[np.ndarray]:
    wanted = dtype(value.dtype)
    rank, fixed = len(value.shape), value.shape
    step = fixed[0] if rank and isinstance(fixed[0], int) else 1
    if array.ndim == rank + 1:
        parts = list(array)
    elif array.ndim == rank and rank and step:
        parts = [array[k : k + step] for k in range(0, len(array) - step + 1, step)]
    else:
        parts = []
    ok = all(isinstance(d, str) or d == n for part in parts[:1] for d, n in zip(fixed, part.shape, strict=True))
    if not ok or (not parts and array.ndim not in (rank, rank + 1)) or not np.can_cast(array.dtype, wanted, "same_kind"):
        raise InvalidFile(
            f"{value.name!r} of the calibration file is {array.dtype} {list(array.shape)}. The model takes: {takes}; "
            "samples along the first axis."
        )
    return [np.ascontiguousarray(part, wanted) for part in parts]


def _shape(value: Value) -> str:
    return str(list(value.shape)).replace("'", "")


def _few(names: list[str]) -> str:
    return ", ".join(repr(n[:100]) for n in names[:5]) or "none"
