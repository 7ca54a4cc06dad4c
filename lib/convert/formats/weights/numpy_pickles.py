"""Inert stand-ins for numpy, argparse, pathlib and datetime objects in a checkpoint's pickle.

torch's restricted unpickler only calls what it is given. Here ``numpy.ndarray`` becomes a class that holds a shape, a
dtype and bytes, and scalars, Namespaces and paths become empty objects. So no code from the file runs; numeric arrays
become tensors, and the rest is left out by name.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from lib.errors import InvalidFile

DTYPE = re.compile(r"[<>|=]?([iu][1248]|f[248]|c(8|16)|b1)")
MAX_DIMENSIONS = 32


class LeftOut:
    """Stands in for an object that is not a tensor. Accepts any arguments and state and discards them."""

    def __init__(self, *given: Any, **named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class Dtype:
    """Stands in for numpy.dtype: holds its name and the byte order from its pickled state."""

    def __init__(self, name: Any = "", *flags: Any) -> None:
        self.name, self.order = (name if isinstance(name, str) else ""), ""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def plain(self) -> np.dtype | None:
        """Returns the numpy dtype; None for object, string and record dtypes."""
        match = DTYPE.fullmatch(self.name)
        return np.dtype(f"{self.order}{self.name.lstrip('<>|=')}") if match else None


class Array:
    """Stands in for numpy.ndarray. ``values`` is None unless its state describes a plain numeric array."""

    values: np.ndarray | None = None

    def __init__(self, *given: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            return
        _, shape, dtype_state, fortran_order, data = state
        dtype = dtype_state.plain() if isinstance(dtype_state, Dtype) else None
        valid_shape = (
            isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(d) is int and d >= 0 for d in shape)
        )
        if dtype is None or not valid_shape or not isinstance(data, bytes):
            return
        if math.prod(shape) * dtype.itemsize != len(data):
            raise InvalidFile("An array in the checkpoint does not have its declared size. Save the checkpoint again.")
        values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
        self.values = np.ascontiguousarray(values.astype(dtype.newbyteorder("="))).reshape(shape)


def reconstruct(*given: Any) -> Array:
    """Stands in for numpy's ``_reconstruct``, which creates an array before its state is set."""
    return Array()


def no_bytes(*given: Any) -> bytes:
    """Stands in for ``bytes()``, which older protocols use for the data of an empty array."""
    return b""


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
# name in the pickle -> stand-in
STAND_INS: dict[str, Any] = {
    **{f"{module}.scalar": LeftOut for module in _NUMPY},
    **{f"{module}._reconstruct": reconstruct for module in _NUMPY},
    "numpy.ndarray": Array,
    "numpy.dtype": Dtype,
    "builtins.bytes": no_bytes,
    "argparse.Namespace": LeftOut,
    "pathlib.PosixPath": LeftOut,
    "pathlib.WindowsPath": LeftOut,
    "pathlib._local.PosixPath": LeftOut,
    "pathlib._local.WindowsPath": LeftOut,
    "datetime.datetime": LeftOut,
    "datetime.timedelta": LeftOut,
}
# in the notation of the GLOBAL opcode: module and name separated by a space
NAMES = frozenset(" ".join(name.rsplit(".", 1)) for name in STAND_INS) | {"__builtin__ bytes"}
