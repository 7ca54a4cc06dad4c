"""Sums over an output, its slices and its rows: movement of the source, errors of the file and of every draw. numpy only.

A row is (source, file, draws, which elements count) of one input, in float64; draws have an axis more in front.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MIN_SHARE = 0.25  # of the whole output's spread, for a slice or row that hardly moves
TOWARDS = 4  # draws that the whole's share counts as, beside a slice's own
LOST_SHARE, KEPT_RATIO = (
    0.5,
    4.0,
)  # a slice is lost: error over this share of its movement, and over so many times that of the draws
MAX_LOST_SLICES = 0.02  # of the slices of one axis: so few of many classes decide nothing
MIN_ELEMENTS = 3  # elements of a slice, below which chance alone may lose it


@dataclass(slots=True)
class Sums:
    """Of squares, over elements: movement of the source, error of the file, error of each draw."""

    count: np.ndarray
    moved: np.ndarray
    ours: np.ndarray
    draws: np.ndarray  # first axis draws


def centres(rows: list[tuple]) -> list[np.ndarray]:
    """The mean over inputs and their first axes at every place; of each input alone where shapes differ."""
    if len({e.shape[1:] for e, *_ in rows}) == 1 and rows[0][0].ndim:
        overall = np.concatenate([np.where(c, e, np.nan) for e, _, _, c in rows])
        known = np.isfinite(overall)
        mean = np.where(known, overall, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        return [mean] * len(rows)
    return [np.array(e[c].mean() if c.any() else 0.0) for e, _, _, c in rows]


def overall(rows: list[tuple], centre: list[np.ndarray]) -> Sums:
    parts = [_sums(*row, middle, None) for row, middle in zip(rows, centre, strict=True)]
    return Sums(*(sum(getattr(p, f) for p in parts) for f in ("count", "moved", "ours", "draws")))


def _sums(e: np.ndarray, o: np.ndarray, given: np.ndarray, counts: np.ndarray, middle: np.ndarray, axis: int | None) -> Sums:
    """Over all axes but ``axis``."""
    others = tuple(k for k in range(e.ndim) if k != axis)
    with np.errstate(invalid="ignore", over="ignore"):
        parts = (np.where(counts, v, 0.0) ** 2 for v in (e - middle, o - e))
        moved, ours = (p.sum(others) for p in parts)
        draws = (np.where(counts, given - e, 0.0) ** 2).sum(tuple(k + 1 for k in others))
    return Sums(counts.sum(others), moved, ours, draws)


def slices(rows: list[tuple], centre: list[np.ndarray]) -> Iterator[tuple[str, Sums]]:
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
    for k, (row, middle) in enumerate(zip(rows, centre, strict=True)):
        if row[0].ndim and row[0].size > row[0].shape[0]:
            yield f"row {{}} of input {k}", _sums(*row, middle, 0)


def worst(groups: Iterator[tuple[str, Sums]], spread: float, moved: float, floor: float) -> tuple[float, str, int]:
    """The largest ratio of a group's error to what is explained of it, where that is, and of how many groups."""
    most, where, number = 0.0, "", 0
    share = spread / moved if moved > 0 else 0.0
    for at, sums in groups:
        number += int((sums.count > 0).sum())
        count = np.maximum(sums.count, 1)
        draws = len(sums.draws)
        own = sums.draws.mean(0) / count
        # one row alone does not move; then all are taken for alike
        usual = share * sums.moved / count if moved > 0 else spread
        explained = (TOWARDS * usual + draws * own) / (TOWARDS + draws)
        explained = np.maximum(explained, max(MIN_SHARE**2 * spread, floor))
        ratios = np.sqrt(sums.ours / count / explained)
        k = int(ratios.argmax())
        if ratios[k] > most:
            most, where = float(ratios[k]), at.format(k)
    return most, where, number


def line(rows: list[tuple], centre: list[np.ndarray], spread: float, moved: float, rounding: float) -> tuple[float, float]:
    """How far the file's scale and mean are off, over how far the draws' are. Of the whole output."""
    total = sum(int(c.sum()) for *_, c in rows)
    draws = len(rows[0][2])
    gains, offsets = np.zeros(draws + 1), np.zeros(draws + 1)
    for (e, o, given, counts), middle in zip(rows, centre, strict=True):
        errors = np.where(counts, np.concatenate([(o - e)[None], given - e]), 0.0)
        axes = tuple(range(1, errors.ndim))
        offsets += errors.sum(axes) / total
        gains += (errors * np.where(counts, e - middle, 0.0)).sum(axes) / total
    # noise alone moves a mean over so many values by this much
    least = spread / np.sqrt(total)
    gain = abs(gains[0]) / max(np.sqrt((gains[1:] ** 2).mean()), least * moved, rounding * moved**2, 1e-60)
    offset = abs(offsets[0]) / max(np.sqrt((offsets[1:] ** 2).mean()), least, MIN_SHARE * 0.1 * spread, 1e-60)
    return float(gain), float(offset)


def lost(groups: Iterator[tuple[str, Sums]]) -> str:
    """A slice whose errors are as large as its movement where the format itself would keep it; "" where such are rare.

    Small scores beside large boxes: no error of theirs is large beside the whole output's.
    """
    for place, found in groups:
        count = np.maximum(found.count, 1)
        moved, ours, draws = found.moved / count, found.ours / count, found.draws.mean(0) / count
        gone = (found.count >= MIN_ELEMENTS) & (moved > 0) & (ours > LOST_SHARE**2 * moved) & (ours > KEPT_RATIO**2 * draws)
        if gone.sum() > MAX_LOST_SLICES * (found.count > 0).sum():
            return place.format(int(gone.argmax()))
    return ""
