"""Arrays of a visitor's .npy or .npz file, read with distrust: no pickle is opened, no header is believed."""

from __future__ import annotations

import io
import warnings
from math import prod
from pathlib import Path

import numpy as np

from lib.archives import Limits, is_litter, opened
from lib.errors import InvalidFile

MAGIC = b"\x93NUMPY"
MAX_BYTES = 1 << 30  # of all arrays together
MAX_ARRAYS = 256
MAX_HEADER = 10_000
LIMITS = Limits(members=MAX_ARRAYS, total=MAX_BYTES, ratio=100_000)  # masks of zeros are packed very tightly
AGAIN = "Create it with numpy.savez(file, **{name: array}), from arrays of numbers"


def npz(path: Path, *, empty: bool = False) -> dict[str, np.ndarray]:
    """The arrays of an .npz by their names, read-only. Raises InvalidFile; ``empty``: not for one without arrays."""
    odd: dict[str, str] = {}  # asked for because names such as input:0 are no plain file names, and ordinary here
    with opened(path, LIMITS, odd) as archive:
        for name, what in odd.items():
            raise InvalidFile(f"The .npz holds {name[:80]!r}, which cannot be read ({what}). {AGAIN}.")
        names = [n for n in archive.members if not is_litter(n)]
        if other := [n for n in names if not n.endswith(".npy")]:
            raise InvalidFile(f"The .npz holds {other[0][:80]!r}, which is not an array. {AGAIN}.")
        if not names and not empty:
            raise InvalidFile(f"The .npz is empty. {AGAIN}.")
        return {n.removesuffix(".npy"): npy(archive.read(n, MAX_BYTES), n.removesuffix(".npy")) for n in names}


def npy(data: bytes, name: str = "") -> np.ndarray:
    """The array of an .npy file's bytes, read-only. Raises InvalidFile."""
    what = f"The array {name[:80]!r}" if name else "The .npy file"
    if not data.startswith(MAGIC):
        raise InvalidFile(f"{what} is not a NumPy array. {AGAIN}.")
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files' headers
            shape, fortran, kind = read(file, max_header_size=MAX_HEADER)
        if any(d < 0 for d in shape) or version > (3, 0):
            raise ValueError
    except Exception:  # of ast, struct and numpy
        raise InvalidFile(f"{what} has a damaged header. {AGAIN}.") from None
    if kind.hasobject:
        raise InvalidFile(f"{what} holds pickled Python objects, which are not loaded. {AGAIN} or of text (dtype U).")
    if kind.names or kind.subdtype:
        raise InvalidFile(f"{what} holds records with several fields. {AGAIN}.")
    if len(data) - file.tell() != prod(shape) * kind.itemsize:
        raise InvalidFile(f"{what} is shorter or longer than its header declares. Upload the whole file again.")
    count = prod(shape)
    flat = np.frombuffer(data, kind, count, file.tell()) if count and kind.itemsize else np.zeros(count, kind)
    return flat.reshape(shape, order="F" if fortran else "C")
