"""Sums over an output, its slices and its rows: movement of the source, errors of the file and of every draw. numpy only.

``rows`` has one tuple per input: (source, file, draws, mask of the elements that count), in float64. ``draws`` has an extra
leading axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MIN_SHARE = 0.25  # of the whole output's spread: lower bound for a slice or row that hardly moves
TOWARDS = 4  # how many draws the whole output's estimate weighs against a slice's own
LOST_SHARE, KEPT_RATIO = (
    0.5,
    4.0,
)  # a slice is lost if its error exceeds this share of its movement and this many times the draws' error
MAX_LOST_SLICES = 0.02  # share of lost slices that is tolerated on an axis
MIN_ELEMENTS = 3  # smaller slices may look lost by chance


@dataclass(slots=True)
class Sums:
    """Sums of squares: ``moved`` of the source's movement, ``ours`` of the file's error, ``draws`` of each draw's error."""

    count: np.ndarray
    moved: np.ndarray
    ours: np.ndarray
    draws: np.ndarray  # first axis: draws


def centres(rows: list[tuple]) -> list[np.ndarray]:
    """Returns per input the mean over all inputs and their first axis; if shapes differ, each input's scalar mean."""
    if len({e.shape[1:] for e, *_ in rows}) == 1 and rows[0][0].ndim:
        overall = np.concatenate([np.where(c, e, np.nan) for e, _, _, c in rows])
        finite = np.isfinite(overall)
        mean = np.where(finite, overall, 0.0).sum(0) / np.maximum(finite.sum(0), 1)
        return [mean] * len(rows)
    return [np.array(e[c].mean() if c.any() else 0.0) for e, _, _, c in rows]


def overall(rows: list[tuple], centre: list[np.ndarray]) -> Sums:
    """Returns the sums over the whole output and all inputs. ``centre``: from ``centres``."""
    parts = [_sums(*row, middle, None) for row, middle in zip(rows, centre, strict=True)]
    return Sums(*(sum(getattr(p, f) for p in parts) for f in ("count", "moved", "ours", "draws")))


def _sums(e: np.ndarray, o: np.ndarray, given: np.ndarray, counts: np.ndarray, middle: np.ndarray, axis: int | None) -> Sums:
    """Sums over all axes but ``axis``."""
    axes = tuple(k for k in range(e.ndim) if k != axis)
    with np.errstate(invalid="ignore", over="ignore"):
        parts = (np.where(counts, v, 0.0) ** 2 for v in (e - middle, o - e))
        moved, error = (p.sum(axes) for p in parts)
        draws = (np.where(counts, given - e, 0.0) ** 2).sum(tuple(k + 1 for k in axes))
    return Sums(counts.sum(axes), moved, error, draws)


def slices(rows: list[tuple], centre: list[np.ndarray]) -> Iterator[tuple[str, Sums]]:
    """Yields for every axis but the first a format string of the place, such as ``[:, {}]``, and the sums by index."""
    for axis in range(1, rows[0][0].ndim):
        parts = [_sums(*row, m, axis) for row, m in zip(rows, centre, strict=True) if row[0].ndim > axis]
        size = max(p.count.shape[0] for p in parts)
        if size > 1:
            padded = (
                sum(np.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, size - v.shape[-1])]) for v in (getattr(p, f) for p in parts))
                for f in ("count", "moved", "ours", "draws")
            )
            yield f"[{':, ' * axis}{{}}]", Sums(*padded)


def rows_of(rows: list[tuple], centre: list[np.ndarray]) -> Iterator[tuple[str, Sums]]:
    """Yields for every input a format string of the place, and the sums by index of its first axis."""
    for k, (row, middle) in enumerate(zip(rows, centre, strict=True)):
        if row[0].ndim and row[0].size > row[0].shape[0]:
            yield f"row {{}} of input {k}", _sums(*row, middle, 0)


def worst(groups: Iterator[tuple[str, Sums]], spread: float, moved: float, floor: float) -> tuple[float, str, int]:
    """Returns (largest ratio of a group's error to its explained error, where it is, number of groups)."""
    largest, where, number = 0.0, "", 0
    share = spread / moved if moved > 0 else 0.0
    for at, sums in groups:
        number += int((sums.count > 0).sum())
        count = np.maximum(sums.count, 1)
        draws = len(sums.draws)
        own_error = sums.draws.mean(0) / count
        # a single row has no movement: then the whole output's spread is used
        predicted = share * sums.moved / count if moved > 0 else spread
        explained = (TOWARDS * predicted + draws * own_error) / (TOWARDS + draws)
        explained = np.maximum(explained, max(MIN_SHARE**2 * spread, floor))
        ratios = np.sqrt(sums.ours / count / explained)
        k = int(ratios.argmax())
        if ratios[k] > largest:
            largest, where = float(ratios[k]), at.format(k)
    return largest, where, number


def line(rows: list[tuple], centre: list[np.ndarray], spread: float, moved: float, rounding: float) -> tuple[float, float]:
    """Returns (gain, offset): how far the whole output's scale and mean are off, relative to the draws."""
    total = sum(int(c.sum()) for *_, c in rows)
    draws = len(rows[0][2])
    gains, offsets = np.zeros(draws + 1), np.zeros(draws + 1)
    for (e, o, emulated, counts), middle in zip(rows, centre, strict=True):
        errors = np.where(counts, np.concatenate([(o - e)[None], emulated - e]), 0.0)
        axes = tuple(range(1, errors.ndim))
        offsets += errors.sum(axes) / total
        gains += (errors * np.where(counts, e - middle, 0.0)).sum(axes) / total
    # standard error of a mean over ``total`` values
    least = spread / np.sqrt(total)
    gain = abs(gains[0]) / max(np.sqrt((gains[1:] ** 2).mean()), least * moved, rounding * moved**2, 1e-60)
    offset = abs(offsets[0]) / max(np.sqrt((offsets[1:] ** 2).mean()), least, MIN_SHARE * 0.1 * spread, 1e-60)
    return float(gain), float(offset)


def lost(groups: Iterator[tuple[str, Sums]]) -> str:
    """Returns a slice whose error is as large as its movement although the format would keep it; "" if there are few.

    This catches small scores next to large box coordinates, whose errors vanish in the whole output's.
    """
    for place, sums in groups:
        count = np.maximum(sums.count, 1)
        moved, error, draws = sums.moved / count, sums.ours / count, sums.draws.mean(0) / count
        mask = (sums.count >= MIN_ELEMENTS) & (moved > 0) & (error > LOST_SHARE**2 * moved) & (error > KEPT_RATIO**2 * draws)
        if mask.sum() > MAX_LOST_SLICES * (sums.count > 0).sum():
            return place.format(int(mask.argmax()))
    return ""
