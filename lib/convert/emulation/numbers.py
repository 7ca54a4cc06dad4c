"""Rounding to float16 and to integers: to nearest, or on a randomly shifted grid. numpy only."""

from __future__ import annotations

import numpy as np

HIGHEST = 65504.0  # float16's largest number; the tools clip weights to it
SMALLEST_FLOAT16 = 6.2e-8  # just above float16's smallest subnormal, to which tools may raise smaller weights
# Distance in steps above which an integer does not come from the weight. Not 0.5: static int8 may pick the second nearest
# integer, and its tool folds norms with its own rounding (1.03 was seen in one of 38,400 weights).
MOVED = 1.3
TINY = 1e-38


def nearest(values: np.ndarray) -> np.ndarray:
    """Rounds float32 values to float16 and back, clipped to float16's range. NaN and infinities stay."""
    cut = np.where(np.isfinite(values), np.clip(values, -HIGHEST, HIGHEST), values)
    return cut.astype(np.float16).astype(np.float32)


def shifted(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rounds to float16 on a grid stretched by a random factor: as precise as ``nearest``, but with different errors.

    Numbers that float16 represents exactly are kept, since they have no rounding error.
    """
    factor = np.float32(rng.uniform(0.5, 1.0))
    exact = nearest(values)
    return np.where(exact == values, values, nearest(values * factor) / factor).astype(np.float32)


def spread(numbers: np.ndarray, ndim: int, axis: int | None) -> np.ndarray:
    """Reshapes scales or zero points to broadcast along ``axis`` of an array with ``ndim`` axes, as float64."""
    flat = numbers.astype(np.float64).reshape(-1)
    return flat.reshape(()) if flat.size == 1 or axis is None else flat.reshape((-1, *(1,) * (ndim - 1 - axis)))


def rounded(
    values: np.ndarray, scale: np.ndarray, zero: np.ndarray, ends: np.iinfo, rng: np.random.Generator | None
) -> np.ndarray:
    """Quantises and dequantises ``values``, clipped to the integer range ``ends``.

    With ``rng`` the grid is shifted by a random fraction of a step; zeros stay zero.
    """
    move = 0.0 if rng is None else rng.uniform(-0.5, 0.5)
    steps = np.clip(np.rint(values / np.maximum(np.abs(scale), TINY) + move) + zero, ends.min, ends.max)
    return np.where((values == 0) & (move != 0.0), 0.0, (steps - zero - move) * scale)


def far_steps(values: np.ndarray, made: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int | None) -> np.ndarray:
    """Returns the distance of the integers ``made`` from ``values``, in steps. Values beyond the range belong at its end."""
    ends = np.iinfo(made.dtype)
    steps = values / np.maximum(np.abs(spread(scale, values.ndim, axis)), TINY) + spread(zero, values.ndim, axis)
    distance = np.abs(np.clip(steps, ends.min, ends.max) - made)
    # for large quotients float32 is not precise to half a step
    return np.nan_to_num(np.maximum(distance - 1e-6 * np.abs(steps), 0.0), nan=np.inf)
