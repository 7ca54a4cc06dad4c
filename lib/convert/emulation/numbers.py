"""Rounding to float16 and int8: to nearest, and on a randomly shifted grid. numpy only."""

from __future__ import annotations

import numpy as np

HIGHEST = 65504.0  # float16's largest number; the tools cut weights to it
SMALLEST_FLOAT16 = 6.2e-8  # next to 0: float16's smallest number, which tools also write for smaller ones
# of a step, from where on an integer is not beside the weight: static int8 also takes the second nearest, and its tool
# folds norms with a rounding of its own (1.03 was seen in one of 38,400 weights)
MOVED = 1.3
TINY = 1e-38


def nearest(values: np.ndarray) -> np.ndarray:
    """float32 values as float16 holds them, cut at its ends."""
    cut = np.where(np.isfinite(values), np.clip(values, -HIGHEST, HIGHEST), values)
    return cut.astype(np.float16).astype(np.float32)


def shifted(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rounded to float16 on a grid stretched by a random factor: as exact as ``nearest``, with other errors.

    Numbers that float16 holds exactly stay: they have no error to be drawn.
    """
    factor = np.float32(rng.uniform(0.5, 1.0))
    exact = nearest(values)
    return np.where(exact == values, values, nearest(values * factor) / factor).astype(np.float32)


def spread(numbers: np.ndarray, ndim: int, axis: int | None) -> np.ndarray:
    """Scales along ``axis`` of an array of ``ndim`` axes, as float64."""
    flat = numbers.astype(np.float64).reshape(-1)
    return flat.reshape(()) if flat.size == 1 or axis is None else flat.reshape((-1, *(1,) * (ndim - 1 - axis)))


def rounded(
    values: np.ndarray, scale: np.ndarray, zero: np.ndarray, ends: np.iinfo, rng: np.random.Generator | None
) -> np.ndarray:
    """To the nearest step, cut at the ends; with ``rng`` on a grid moved by a part of a step, but for zeros."""
    move = 0.0 if rng is None else rng.uniform(-0.5, 0.5)
    steps = np.clip(np.rint(values / np.maximum(np.abs(scale), TINY) + move) + zero, ends.min, ends.max)
    return np.where((values == 0) & (move != 0.0), 0.0, (steps - zero - move) * scale)


def far_steps(values: np.ndarray, made: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int | None) -> np.ndarray:
    """How many steps each integer of ``made`` is from ``values``; those outside of the range belong at its end."""
    ends = np.iinfo(made.dtype)
    steps = values / np.maximum(np.abs(spread(scale, values.ndim, axis)), TINY) + spread(zero, values.ndim, axis)
    far = np.abs(np.clip(steps, ends.min, ends.max) - made)
    # float32 is not exact to half a step of numbers that large
    return np.nan_to_num(np.maximum(far - 1e-6 * np.abs(steps), 0.0), nan=np.inf)
