"""What numpy and argparse leave in a checkpoint, read without either: inert objects of our own take their place.

torch's restricted reader calls only what it is told of. It is told that ``numpy.ndarray`` is a class here that holds
a shape, a dtype and bytes, and that a scalar, a Namespace or a path is a thing that nobody looks into. So nothing of
the file is executed; arrays of plain numbers become tensors, and the rest is left out by name.
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
    """Stands for an object that is no tensor. Takes whatever it is made from, and keeps nothing."""

    def __init__(self, *given: Any, **named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class Dtype:
    """numpy.dtype: its name, and the order of bytes that its state says."""

    def __init__(self, name: Any = "", *flags: Any) -> None:
        self.name, self.order = (name if isinstance(name, str) else ""), ""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def plain(self) -> np.dtype | None:
        """None for objects, texts, records."""
        known = DTYPE.fullmatch(self.name)
        return np.dtype(f"{self.order}{self.name.lstrip('<>|=')}") if known else None


class Array:
    """numpy.ndarray, as its state describes it."""

    values: np.ndarray | None = None

    def __init__(self, *given: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            return
        _, shape, kind, columns, data = state
        dtype = kind.plain() if isinstance(kind, Dtype) else None
        whole = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(d) is int and d >= 0 for d in shape)
        if dtype is None or not whole or not isinstance(data, bytes):
            return
        if math.prod(shape) * dtype.itemsize != len(data):
            raise InvalidFile("An array in the checkpoint has another size than it says. Save the checkpoint again.")
        values = np.frombuffer(data, dtype).reshape(shape, order="F" if columns else "C")
        self.values = np.ascontiguousarray(values.astype(dtype.newbyteorder("="))).reshape(shape)


def reconstruct(*given: Any) -> Array:
    return Array()


def no_bytes(*given: Any) -> bytes:
    """How an older protocol writes the bytes of an array of no elements."""
    return b""


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
# the name in the pickle -> what it is here
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
# as a GLOBAL opcode has them
NAMES = frozenset(" ".join(name.rsplit(".", 1)) for name in STAND_INS) | {"__builtin__ bytes"}
