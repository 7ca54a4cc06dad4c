"""Integer inputs that nobody explains: lengths, counts, sample rates. Values by their names, then small ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.model_inputs import dimensions
from lib.model_inputs.signature import Signature, Value, dtype
from lib.model_inputs.synthesis import RATE

AS_NAMED, ONES, ZEROS = LEVELS = (0, 1, 2)
UNKNOWN = (0, 9)
COUNTS = {
    "count",
    "counts",
    "loop",
    "loops",
    "trip",
    "trips",
    "iterations",
    "iters",
    "iter",
    "steps",
    "times",
    "repeats",
    "num",
    "max",
}
LENGTHS = {"length", "lengths", "len", "lens", "seqlen", "seqlens"}
EXTENTS = {"size", "sizes", "shape", "height", "width", "resolution"}
INDICES = {"index", "indices", "idx", "axis", "dim", "k"}
Ranges = dict[str, tuple[int, int]]


def ranges(signature: Signature, sizes: Mapping[str, int], level: int = AS_NAMED) -> Ranges:
    """(lowest, highest) value of each integer input that has no role and no known range.

    ``level``: as the name suggests; all 1; all 0. Sample rates stay sample rates: 16,000, and 8,000 in the last.
    """
    out: Ranges = {}
    for value in signature.inputs:
        kind = dtype(value.dtype)
        if value.role or value.high is not None or kind.kind not in "iu" or dimensions.picture_layout(value):
            continue
        if dimensions.is_rate(value):
            rates = (RATE, RATE, 8000)
            out[value.name] = (rates[level], rates[level])
        elif kind.itemsize == 1:
            continue  # pixels, or quantised values: all of them
        elif level == AS_NAMED:
            out[value.name] = _as_named(value, signature, sizes)
        else:
            out[value.name] = (1, 1) if level == ONES else (0, 0)
    return out


def same_level(signature: Signature, sizes: Mapping[str, int], found: Ranges) -> Ranges:
    """The ranges for other sizes, made in the way that ``found`` was: lengths follow the sequence."""
    plain = {n: r for n, r in found.items() if r[0] == r[1]}
    named = ranges(signature, sizes)
    return plain if len(plain) == len(found) else {n: named[n] for n in found}


def arrays(rng: np.random.Generator, value: Value, shape: tuple[int, ...], between: tuple[int, int]) -> np.ndarray:
    """Integers of a range, both ends included."""
    return rng.integers(between[0], between[1] + 1, shape).astype(dtype(value.dtype))


def _as_named(value: Value, signature: Signature, sizes: Mapping[str, int]) -> tuple[int, int]:
    told = dimensions.words(value.name)
    if told & LENGTHS:
        longest = _longest(signature, sizes)
        return max(1, longest // 2), longest
    if told & EXTENTS:
        return (64, 64) if not sizes else (_longest(signature, sizes, "space") or 64,) * 2
    if told & INDICES:
        return 0, 1
    if told & COUNTS:
        return 1, 3
    return UNKNOWN


def _longest(signature: Signature, sizes: Mapping[str, int], kind: str = "") -> int:
    """The shortest sequence that a length may count: the second axis, or the first of sequence-first inputs.

    With ``kind``, the largest dimension of that kind.
    """
    kinds = dimensions.kinds(signature)
    if kind:
        return max((sizes.get(s, 0) for s, k in kinds.items() if k == kind), default=0)
    several = [v for v in signature.inputs if len(v.shape) >= 2 and not dtype(v.dtype).hasobject]
    found = []
    for value in several:
        whole = [sizes.get(d, 1) if isinstance(d, str) else d for d in value.shape]
        named = [sizes.get(d, 1) for d in value.shape if isinstance(d, str) and kinds[d] in ("sequence", "frames", "wave")]
        found += named or ([max(whole[:2])] if any(isinstance(d, int) and d == 1 for d in whole[:2]) else [min(whole[:2])])
    return max(1, min(found, default=4))
