"""Inputs for the proof, made from a signature by seed: ordinary in two sizes, lifelike, extreme, one input changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from lib.model_inputs import integers
from lib.model_inputs.integers import UNKNOWN, Ranges
from lib.model_inputs.signature import Signature, Value, dtype

SEEDS = (0, 1, 2)
# random streams: visitors choose the seeds, so each purpose has a stream of its own
PROOF, ALONE, PERTURBATION, CALIBRATION, ORDER = range(5)
# sizes of dynamic dimensions, by what they probably are; in ``DISTINCT`` no two symbols get the same, so that two
# dimensions that changed places show, and in ``EQUAL`` all do, for sources that take nothing else
SMALL = {"leading": (1,), "sequence": (8,), "space": (64,), "other": (4,)}
DISTINCT = {"leading": (3, 2, 5), "sequence": (13, 11, 17), "space": (96, 64, 128), "other": (6, 7, 9)}
EQUAL = {"leading": (3,), "sequence": (13,), "space": (96,), "other": (6,)}
UNKNOWN_HIGH = 10  # tokens of an input with an unknown vocabulary
WIDE = 1000  # and in one more case, from -1000 to 1000
HUGE = {8: 2**40, 4: 2**20}  # and in another, by the integer's bytes: values that overflow in fewer bits
EXTREME_FACTOR = 4  # of the extreme case
LARGE_SCALE = 5.0  # of the extreme case: five standard deviations
TIMESTEPS = 1000
MAX_BEYOND = 2048  # the largest limit of a target that is tried, plus one
MAX_ALONE = 6  # inputs that are changed alone


@dataclass(slots=True)
class Case:
    """``kind``: ordinary (noise); lifelike (like real inputs of such a model); resized (other sizes of the dynamic
    dimensions); sample (of the visitor's file); zeros; large; wide and huge (integers of unknown range); beyond (a size
    larger than a target's limit); alone (the first ordinary case with only the input ``changed`` replaced); perturbed,
    and perturbed zeros, large, lifelike and sample.

    Perturbed cases run on the source only: they show how much it amplifies rounding.
    """

    kind: str
    seed: int
    sizes: dict[str, int]
    arrays: dict[str, np.ndarray]
    changed: str = ""


def cases(
    signature: Signature,
    seeds: tuple[int, ...] = SEEDS,
    fixed: dict[str, int] | None = None,
    *,
    other: dict[str, int] | None = None,
    stream: int = PROOF,
    ranges: Ranges | None = None,
    wide: bool = True,
    only_first: bool = False,
    hints: Mapping[str, Any] | None = None,
) -> list[Case]:
    """The cases for source and target. ``fixed``: sizes of symbols in all cases but the resized ones, which use ``other``.

    ``ranges``: the values of integer inputs, by name, both ends included (``lib/model_inputs/integers.py``). ``wide`` False
    leaves out integers that may be invalid indices, as some runtimes crash on these. ``hints``: the preprocessing of
    pictures that the model's file states.
    """
    if not signature.inputs:
        return [Case("ordinary", 0, {}, {})]
    sizes = _sizes(signature, SMALL, 0, fixed or {})
    make = partial(_arrays, signature, sizes, stream=stream, ranges=ranges)
    out = [Case("ordinary", s, sizes, make(s)) for s in seeds]
    if only_first:
        return out[:1]
    out += resized(signature, seeds, fixed, other=other, stream=stream, ranges=ranges)
    out += _lifelike(signature, sizes, seeds, stream, hints, ranges)
    out.append(Case("zeros", 0, sizes, make(0, scale=0.0)))
    # one row rarely reaches a bound that the other lacks, so other sizes bring some more
    out += [Case("large", s, sizes, make(s, scale=LARGE_SCALE)) for s in range(EXTREME_FACTOR)]
    if wide and any(_no_known_meaning(v) for v in signature.inputs):
        out.append(Case("wide", 0, sizes, make(0, wide=WIDE)))
        out.append(Case("huge", 0, sizes, make(0, wide=max(HUGE.values()))))
    first, others = out[0].arrays, make(seeds[0], stream=ALONE + 16 * stream)
    for name in list(first)[:MAX_ALONE] if len(first) > 1 else []:
        out.append(Case("alone", seeds[0], sizes, first | {name: others[name]}, name))
    if any(dtype(v.dtype).kind == "f" for v in signature.inputs):
        out += [Case("perturbed", s, sizes, perturbed(make(s), s)) for s in seeds[:2]]
        # a norm of nothing but zeros divides rounding by the root of its epsilon, and a network far beyond what its
        # norms have seen multiplies it by every layer
        # all large cases: one may saturate an output, which hides rounding, and another not
        for kind, scale, seed in (("zeros", 0.0, 0), *(("large", LARGE_SCALE, s) for s in range(EXTREME_FACTOR))):
            out.append(Case(f"perturbed {kind}", seed, sizes, perturbed(make(seed, scale=scale), seed)))
    return out


def resized(
    signature: Signature,
    seeds: tuple[int, ...] = SEEDS,
    fixed: dict[str, int] | None = None,
    *,
    other: dict[str, int] | None = None,
    equal: bool = False,
    stream: int = PROOF,
    ranges: Ranges | None = None,
) -> list[Case]:
    """Cases of other sizes: as in ``other``, else different for every symbol unless ``equal``. [] if no size is dynamic."""
    first = _sizes(signature, SMALL, 0, fixed or {})
    large = _sizes(signature, EQUAL if equal else DISTINCT, 1, (fixed or {}) if other is None else other)
    make = partial(_arrays, signature, large, stream=stream, ranges=ranges)
    return [Case("resized", s, large, make(s)) for s in seeds] if large != first else []


def _lifelike(
    signature: Signature,
    sizes: dict[str, int],
    seeds: tuple[int, ...],
    stream: int,
    hints: Mapping[str, Any] | None,
    ranges: Ranges | None,
) -> list[Case]:
    """Pictures with edges, waves like speech and the like; [] if the inputs' meaning is unknown."""
    from lib.model_inputs import made_up

    about = {"hints": hints, "ranges": ranges}
    found = [made_up.lifelike(signature, sizes, np.random.default_rng([s, stream]), **about) for s in seeds]
    return [Case("lifelike", s, sizes, made) for s, made in zip(seeds, found, strict=True) if made is not None]


def over_limits(signature: Signature, known: dict[str, int], limits: dict[str, int]) -> list[Case]:
    """For each symbol in ``limits`` one case whose size is one above the limit. ``known``: sizes of the other symbols."""
    small, out = _sizes(signature, SMALL, 0, known), []
    for symbol, most in limits.items():
        if symbol in small and symbol not in signature.sizes and most <= MAX_BEYOND:
            sizes = small | {symbol: most + 1}
            out.append(Case("beyond", 0, sizes, _arrays(signature, sizes, 0)))
    return out


def perturbed(arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The same inputs, each number moved by one step of its own precision; a zero by half a step of 1."""
    rng = np.random.default_rng([seed, PERTURBATION])
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


def _no_known_meaning(value: Value) -> bool:
    """Whether it is an integer input without a known role or range."""
    return not value.role and value.high is None and dtype(value.dtype).kind in "iu" and dtype(value.dtype).itemsize > 1


def _arrays(
    signature: Signature,
    sizes: dict[str, int],
    seed: int,
    *,
    scale: float = 1.0,
    wide: int = 0,
    stream: int = PROOF,
    ranges: Ranges | None = None,
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, stream])
    shapes = {v.name: tuple(sizes[d] if isinstance(d, str) else d for d in v.shape) for v in signature.inputs}
    known = integers.ranges(signature, sizes) if ranges is None else integers.same_level(signature, sizes, ranges)
    return {
        v.name: np.asarray(_array(rng, v, shapes[v.name], seed, scale, wide, known.get(v.name))) for v in signature.inputs
    }


def _array(
    rng: np.random.Generator,
    value: Value,
    shape: tuple[int, ...],
    seed: int,
    scale: float,
    wide: int,
    between: tuple[int, int] | None,
) -> np.ndarray:
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
        if between and (not wide or between != UNKNOWN):
            lowest, highest = between
            return integers.arrays(
                rng, value, shape, between if scale == 1 else ((highest,) * 2 if scale else (lowest,) * 2)
            )
        return _integers(rng, value, shape, scale, wide)
    if kind.kind == "c":
        return (scale * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(kind)
    return (scale * rng.standard_normal(shape)).astype(kind)


def _mask(rng: np.random.Generator, shape: tuple[int, ...], seed: int | None) -> np.ndarray:
    """Padding on the right, on the left, or holes, by the seed. Lengths differ by row; no row is empty."""
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
    elif wide and _no_known_meaning(value):
        most = min(wide, HUGE.get(kind.itemsize, WIDE))
        low, high = (-most if kind.kind == "i" else 0), most + 1
    if scale != 1:
        return np.full(shape, high - 1 if scale else 0).astype(kind)
    return rng.integers(low, high, shape).astype(kind)
