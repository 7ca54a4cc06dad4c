"""Inputs for the proof, made by seed from a signature: ordinary ones in two sizes, extreme ones, one changed alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle

import numpy as np

from lib.model_inputs.signature import Signature, Value, dtype

SEEDS = (0, 1, 2)
# sizes of dynamic dimensions, by what they probably are; in ``DISTINCT`` no two symbols get the same, so that two
# dimensions that changed places show, and in ``EQUAL`` all do, for sources that take nothing else
SMALL = {"leading": (1,), "sequence": (8,), "space": (64,), "other": (4,)}
DISTINCT = {"leading": (3, 2, 5), "sequence": (13, 11, 17), "space": (96, 64, 128), "other": (6, 7, 9)}
EQUAL = {"leading": (3,), "sequence": (13,), "space": (96,), "other": (6,)}
UNKNOWN_HIGH = 10  # values of an integer input whose range nobody stated: 0 to 9
WIDE = 1000  # and in one more case, from -1000 to 1000
HUGE = {8: 2**40, 4: 2**20}  # and in another, by the integer's bytes: what a runtime of fewer bits would wrap
LARGE_SCALE = 5.0  # of the extreme case: five standard deviations
TIMESTEPS = 1000
MOST_BEYOND = 2048  # the largest size of a dimension that is tried because a target ends there
MOST_ALONE = 6  # inputs that are changed alone


@dataclass(slots=True)
class Case:
    """``kind``: ordinary; resized (other sizes of the dynamic dimensions); zeros; large; wide and huge (integers of
    unknown range); beyond (a size larger than a target's limit); alone (as the first ordinary one, but for the input
    ``changed``); nudged, nudged zeros and nudged large.

    The nudged ones only go to the source: they show what it makes of rounding.
    """

    kind: str
    seed: int
    sizes: dict[str, int]
    arrays: dict[str, np.ndarray]
    changed: str = ""


def cases(
    signature: Signature, seeds: tuple[int, ...] = SEEDS, fixed: dict[str, int] | None = None, *, wide: bool = True
) -> list[Case]:
    """What source and target are run on. ``fixed`` symbols keep that size in every case.

    ``wide`` False leaves out integers that may be no valid index: there are runtimes that crash on these.
    """
    if not signature.inputs:
        return [Case("ordinary", 0, {}, {})]
    small = _sizes(signature, SMALL, 0, fixed or {})
    out = [Case("ordinary", s, small, _arrays(signature, small, s)) for s in seeds]
    out += resized(signature, seeds, fixed)
    out.append(Case("zeros", 0, small, _arrays(signature, small, 0, scale=0.0)))
    out.append(Case("large", 0, small, _arrays(signature, small, 0, scale=LARGE_SCALE)))
    if wide and any(_unknown(v) for v in signature.inputs):
        out.append(Case("wide", 0, small, _arrays(signature, small, 0, wide=WIDE)))
        out.append(Case("huge", 0, small, _arrays(signature, small, 0, wide=max(HUGE.values()))))
    first, other = out[0].arrays, _arrays(signature, small, seeds[-1] + 1)
    for name in list(first)[:MOST_ALONE] if len(first) > 1 else []:
        out.append(Case("alone", seeds[0], small, first | {name: other[name]}, name))
    if any(dtype(v.dtype).kind == "f" for v in signature.inputs):
        out += [Case("nudged", s, small, nudged(_arrays(signature, small, s), s)) for s in seeds[:2]]
        # a norm of nothing but zeros divides rounding by the root of its epsilon, and a network far beyond what its
        # norms have seen multiplies it by every layer
        for kind, scale in (("zeros", 0.0), ("large", LARGE_SCALE)):
            out.append(Case(f"nudged {kind}", 0, small, nudged(_arrays(signature, small, 0, scale=scale), 0)))
    return out


def resized(
    signature: Signature, seeds: tuple[int, ...] = SEEDS, fixed: dict[str, int] | None = None, *, equal: bool = False
) -> list[Case]:
    """Other sizes, different for every symbol unless ``equal``; none where no dimension is free."""
    small = _sizes(signature, SMALL, 0, fixed or {})
    large = _sizes(signature, EQUAL if equal else DISTINCT, 1, fixed or {})
    return [Case("resized", s, large, _arrays(signature, large, s)) for s in seeds] if large != small else []


def beyond(signature: Signature, fixed: dict[str, int], limits: dict[str, int]) -> list[Case]:
    """One case for each symbol that ``limits`` gives a largest size, one larger: does the source take that?"""
    small, out = _sizes(signature, SMALL, 0, fixed), []
    for symbol, most in limits.items():
        if symbol in small and symbol not in fixed and symbol not in signature.sizes and most <= MOST_BEYOND:
            sizes = small | {symbol: most + 1}
            out.append(Case("beyond", 0, sizes, _arrays(signature, sizes, 0)))
    return out


def nudged(arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The same inputs, each number moved by one step of its own precision; a zero by half a step of 1."""
    rng = np.random.default_rng(seed + 1)
    out = {}
    for name, value in arrays.items():
        if value.dtype.kind == "f":
            way = np.where(rng.random(value.shape) < 0.5, -1, 1).astype(value.dtype)
            zero = way * np.finfo(value.dtype).eps / 2
            value = np.where(value == 0, zero, np.nextafter(value, way * np.inf)).astype(value.dtype)
        out[name] = value
    return out


def _sizes(signature: Signature, table: dict[str, tuple[int, ...]], choice: int, fixed: dict[str, int]) -> dict[str, int]:
    """A size for every symbol; ``choice`` is the place in ``Signature.sizes`` for those that are listed there."""
    out: dict[str, int] = {}
    left = {kind: cycle(some) for kind, some in table.items()}
    for value in signature.inputs:
        for axis, symbol in enumerate(value.shape):
            if not isinstance(symbol, str) or symbol in out:
                continue
            if symbol in fixed:
                out[symbol] = fixed[symbol]
            elif allowed := signature.sizes.get(symbol):
                out[symbol] = allowed[min(choice, len(allowed) - 1)]
            else:
                out[symbol] = next(left[_kind(len(value.shape), axis)])
    return out


def _kind(rank: int, axis: int) -> str:
    if axis == 0:
        return "leading"
    if rank in (4, 5) and axis >= 2:
        return "space"
    return "sequence" if rank in (2, 3) and axis == 1 else "other"


def _unknown(value: Value) -> bool:
    """An integer input of which nobody said what it means."""
    return not value.role and value.high is None and dtype(value.dtype).kind in "iu" and dtype(value.dtype).itemsize > 1


def _arrays(
    signature: Signature, sizes: dict[str, int], seed: int, scale: float = 1.0, wide: int = 0
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {v.name: tuple(sizes[d] if isinstance(d, str) else d for d in v.shape) for v in signature.inputs}
    return {v.name: _array(rng, v, shapes[v.name], seed, scale, wide) for v in signature.inputs}


def _array(rng: np.random.Generator, value: Value, shape: tuple[int, ...], seed: int, scale: float, wide: int) -> np.ndarray:
    kind = dtype(value.dtype)
    if kind.hasobject:
        return np.array([f"word{k}" for k in rng.integers(0, 10, int(np.prod(shape)))], object).reshape(shape)
    if value.role == "mask":
        return _mask(rng, shape, seed if scale == 1 else None).astype(kind)
    if value.role == "positions" and shape:
        return _positions(rng, value, shape, seed if scale == 1 else 0).astype(kind)
    if value.role == "timestep":
        return rng.integers(0, TIMESTEPS, shape).astype(kind) if scale else np.zeros(shape, kind)
    if kind.kind == "b":
        return (rng.random(shape) < 0.5) if scale == 1 else np.full(shape, bool(scale))
    if kind.kind in "iu" or value.dtype in ("int4", "uint4"):
        return _integers(rng, value, shape, scale, wide)
    if kind.kind == "c":
        return (scale * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(kind)
    return (scale * rng.standard_normal(shape)).astype(kind)


def _mask(rng: np.random.Generator, shape: tuple[int, ...], seed: int | None) -> np.ndarray:
    """Padding on the right, on the left, or holes, by the seed; another length in every row, never nothing at all."""
    out = np.ones(shape)
    if seed is None or not shape or shape[-1] < 2:
        return out
    length = rng.integers((shape[-1] + 1) // 2, shape[-1] + 1, shape[:-1])[..., None]
    place = np.arange(shape[-1])
    if seed % 3 == 0:
        return np.where(place < length, out, 0)
    if seed % 3 == 1:
        return np.where(place >= shape[-1] - length, out, 0)
    out = np.where(rng.random(shape) < 0.3, 0, out)
    out[..., 0] = 1
    return out


def _positions(rng: np.random.Generator, value: Value, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """0, 1, 2 … for seed 0; others below ``high``, or the same in another order."""
    counted = np.broadcast_to(np.arange(shape[-1]), shape)
    if not seed:
        return counted
    return rng.integers(0, value.high, shape) if value.high else rng.permuted(counted, axis=-1)


def _integers(rng: np.random.Generator, value: Value, shape: tuple[int, ...], scale: float, wide: int) -> np.ndarray:
    kind = dtype(value.dtype)
    low, high = 0, value.high or UNKNOWN_HIGH
    if not value.role and value.high is None and kind.itemsize == 1 and kind.kind in "iu":
        low, high = np.iinfo(kind).min, np.iinfo(kind).max + 1  # pixels, or quantised values: all of them
    elif wide and _unknown(value):
        most = min(wide, HUGE.get(kind.itemsize, WIDE))
        low, high = (-most if kind.kind == "i" else 0), most + 1
    if scale != 1:
        return np.full(shape, high - 1 if scale else 0).astype(kind)
    return rng.integers(low, high, shape).astype(kind)
