"""Generate the test inputs of the proof from a signature and seeds: ordinary at two sizes, lifelike, extreme, perturbed."""

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
# random streams: visitors choose the seeds, so each purpose has its own stream
PROOF, ALONE, PERTURBATION, CALIBRATION, ORDER = range(5)
# sizes of dynamic dimensions, by their probable meaning. In ``DISTINCT`` no two symbols get the same size, so that
# swapped dimensions are detected; in ``EQUAL`` all symbols of a kind do, for sources that accept nothing else
SMALL = {"leading": (1,), "sequence": (8,), "space": (64,), "other": (4,)}
DISTINCT = {"leading": (3, 2, 5), "sequence": (13, 11, 17), "space": (96, 64, 128), "other": (6, 7, 9)}
EQUAL = {"leading": (3,), "sequence": (13,), "space": (96,), "other": (6,)}
UNKNOWN_HIGH = 10  # exclusive upper bound of integers with an unknown range
WIDE = 1000  # "wide" case: integers from -1000 to 1000
HUGE = {8: 2**40, 4: 2**20}  # "huge" case, by itemsize: values that overflow in fewer bits
EXTREME_FACTOR = 4  # number of "large" cases
LARGE_SCALE = 5.0  # scale of the "large" cases, in standard deviations
TIMESTEPS = 1000
MAX_BEYOND = 2048  # largest limit of a target that is tested
MAX_ALONE = 6  # maximum number of inputs that are changed alone


@dataclass(slots=True)
class Case:
    """One set of inputs.

    ``kind``: ordinary (noise); lifelike (like real inputs of such a model); resized (other sizes of the dynamic
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
    """Generate the cases for source and target. ``fixed``: sizes of symbols; the resized cases use ``other`` instead.

    ``ranges``: the values of integer inputs, by name, both ends included (``lib/model_inputs/integers.py``). ``wide`` False
    leaves out integers that may be invalid indices, as some runtimes crash on these. ``hints``: the preprocessing of
    pictures that the model's file states.
    """
    if not signature.inputs:
        return [Case("ordinary", 0, {}, {})]
    sizes = _sizes(signature, SMALL, 0, fixed or {})
    make = partial(_arrays, signature, sizes, stream=stream, ranges=ranges)
    all_cases = [Case("ordinary", s, sizes, make(s)) for s in seeds]
    if only_first:
        return all_cases[:1]
    all_cases += resized(signature, seeds, fixed, other=other, stream=stream, ranges=ranges)
    all_cases += _lifelike(signature, sizes, seeds, stream, hints, ranges)
    all_cases.append(Case("zeros", 0, sizes, make(0, scale=0.0)))
    # a single row rarely reaches a bound that the other model lacks, hence several cases
    all_cases += [Case("large", s, sizes, make(s, scale=LARGE_SCALE)) for s in range(EXTREME_FACTOR)]
    if wide and any(_no_known_meaning(v) for v in signature.inputs):
        all_cases.append(Case("wide", 0, sizes, make(0, wide=WIDE)))
        all_cases.append(Case("huge", 0, sizes, make(0, wide=max(HUGE.values()))))
    first, alternatives = all_cases[0].arrays, make(seeds[0], stream=ALONE + 16 * stream)
    for name in list(first)[:MAX_ALONE] if len(first) > 1 else []:
        all_cases.append(Case("alone", seeds[0], sizes, first | {name: alternatives[name]}, name))
    if any(dtype(v.dtype).kind == "f" for v in signature.inputs):
        all_cases += [Case("perturbed", s, sizes, perturbed(make(s), s)) for s in seeds[:2]]
        # extreme inputs can amplify rounding: a norm of zeros divides it by the root of epsilon, and far outside the
        # range that the norms have seen, each layer multiplies it. All large cases are perturbed, as a saturated output
        # hides rounding
        for kind, scale, seed in (("zeros", 0.0, 0), *(("large", LARGE_SCALE, s) for s in range(EXTREME_FACTOR))):
            all_cases.append(Case(f"perturbed {kind}", seed, sizes, perturbed(make(seed, scale=scale), seed)))
    return all_cases


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
    """Generate cases at the sizes ``other``, else a different size per symbol unless ``equal``. [] if none is dynamic."""
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
    """Generate lifelike inputs, such as pictures with edges or speech-like waves. [] if the inputs' meaning is unknown."""
    from lib.model_inputs import made_up

    options = {"hints": hints, "ranges": ranges}
    by_seed = [made_up.lifelike(signature, sizes, np.random.default_rng([s, stream]), **options) for s in seeds]
    return [Case("lifelike", s, sizes, arrays) for s, arrays in zip(seeds, by_seed, strict=True) if arrays is not None]


def over_limits(signature: Signature, known: dict[str, int], limits: dict[str, int]) -> list[Case]:
    """Generate one case per symbol in ``limits``, one larger than its limit. ``known``: sizes of the other symbols."""
    small, beyond_cases = _sizes(signature, SMALL, 0, known), []
    for symbol, limit in limits.items():
        if symbol in small and symbol not in signature.sizes and limit <= MAX_BEYOND:
            sizes = small | {symbol: limit + 1}
            beyond_cases.append(Case("beyond", 0, sizes, _arrays(signature, sizes, 0)))
    return beyond_cases


def perturbed(arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Return the inputs with each float moved by one ulp, up or down at random. Zeros move by half an epsilon."""
    rng = np.random.default_rng([seed, PERTURBATION])
    moved = {}
    for name, value in arrays.items():
        if value.dtype.kind == "f":
            direction = np.where(rng.random(value.shape) < 0.5, -1, 1).astype(value.dtype)
            zero = direction * np.finfo(value.dtype).eps / 2
            value = np.where(value == 0, zero, np.nextafter(value, direction * np.inf)).astype(value.dtype)
        moved[name] = value
    return moved


def _sizes(signature: Signature, table: dict[str, tuple[int, ...]], choice: int, fixed: dict[str, int]) -> dict[str, int]:
    """Return a size for every symbol. ``choice``: index into ``Signature.sizes`` for symbols listed there."""
    sizes: dict[str, int] = {}
    next_sizes = {kind: cycle(choices) for kind, choices in table.items()}
    for value in signature.inputs:
        for axis, symbol in enumerate(value.shape):
            if not isinstance(symbol, str) or symbol in sizes:
                continue
            if symbol in fixed:
                sizes[symbol] = fixed[symbol]
            elif allowed := signature.sizes.get(symbol):
                sizes[symbol] = allowed[min(choice, len(allowed) - 1)]
            else:
                sizes[symbol] = next(next_sizes[_kind(len(value.shape), axis)])
    return sizes


def _kind(rank: int, axis: int) -> str:
    if axis == 0:
        return "leading"
    if rank in (4, 5) and axis >= 2:
        return "space"
    return "sequence" if rank in (2, 3) and axis == 1 else "other"


def _no_known_meaning(value: Value) -> bool:
    """Return whether the input is an integer without a known role or range."""
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
    """Generate a mask with padding on the right, on the left, or holes, by the seed. Lengths differ; no row is empty."""
    ones = np.ones(shape)
    if seed is None or not shape or shape[-1] < 2:
        return ones
    length = rng.integers((shape[-1] + 1) // 2, shape[-1] + 1, shape[:-1])[..., None]
    place = np.arange(shape[-1])
    if seed % 3 == 0:
        return np.where(place < length, ones, 0)
    if seed % 3 == 1:
        return np.where(place >= shape[-1] - length, ones, 0)
    ones = np.where(rng.random(shape) < 0.3, 0, ones)
    ones[..., 0] = 1
    return ones


def _positions(rng: np.random.Generator, value: Value, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Generate positions: 0, 1, 2 … for seed 0; else random ones below ``high``, or a permutation."""
    counted = np.broadcast_to(np.arange(shape[-1]), shape)
    if not seed:
        return counted
    return rng.integers(0, value.high, shape) if value.high else rng.permuted(counted, axis=-1)


def _integers(rng: np.random.Generator, value: Value, shape: tuple[int, ...], scale: float, wide: int) -> np.ndarray:
    kind = dtype(value.dtype)
    low, high = 0, value.high or UNKNOWN_HIGH
    if not value.role and value.high is None and kind.itemsize == 1 and kind.kind in "iu":
        low, high = np.iinfo(kind).min, np.iinfo(kind).max + 1  # pixels or quantized values: the full range
    elif wide and _no_known_meaning(value):
        bound = min(wide, HUGE.get(kind.itemsize, WIDE))
        low, high = (-bound if kind.kind == "i" else 0), bound + 1
    if scale != 1:
        return np.full(shape, high - 1 if scale else 0).astype(kind)
    return rng.integers(low, high, shape).astype(kind)
