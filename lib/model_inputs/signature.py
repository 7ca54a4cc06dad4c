"""What a model takes and gives: names, dtypes, shapes. Knows no framework; JSON in and out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

NARROW = {"bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "int4", "uint4"}
ROLES = ("image", "tokens", "mask", "positions", "timestep", "index", "")
DEFAULT = "serving_default"  # of several signatures, the one that is meant where nobody says


@dataclass(frozen=True, slots=True)
class Value:
    """One input or output. ``dtype`` as numpy and ml_dtypes name it; a ``str`` in ``shape`` is a dynamic dimension.

    Equal symbols mean equal sizes. ``role`` says what an input means, so that sensible values can be made;
    ``high`` is the number of tokens or classes that an integer input may index (values 0 to high - 1).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    role: str = ""
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    # symbol -> some sizes that it takes, smallest first, where not every size will do: {"height": (64, 128)}
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Signature:
        def values(some: Iterable[dict[str, Any]]) -> tuple[Value, ...]:
            return tuple(Value(**(v | {"shape": tuple(v["shape"])})) for v in some)

        sizes = {name: tuple(some) for name, some in given.get("sizes", {}).items()}
        return cls(values(given["inputs"]), values(given["outputs"]), sizes)

    def symbols(self) -> tuple[str, ...]:
        """Every dynamic dimension of the inputs, in order of appearance."""
        return tuple(dict.fromkeys(d for v in self.inputs for d in v.shape if isinstance(d, str)))


def dtype(name: str) -> np.dtype:
    """numpy's dtype, or ml_dtypes', by its name in a signature."""
    if name in NARROW:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(object if name in ("string", "str", "object") else name)


def named(key: str, name: str, several: bool) -> str:
    """How an input or output of the signature ``key`` is called, where a model may have several."""
    return f"{key}/{name}" if several else name
