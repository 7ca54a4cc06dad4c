"""Range, sparsity and histogram of an array, in pieces so that a big one costs no memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.error_measures import wide
from lib.reports.words import cut

MAX_EXACT = 1 << 48  # elements: more is not counted exactly
PIECE = 1 << 22  # elements looked at together
BINS = 64
TEXT = 300  # characters of a string
SHOWN = 24  # first values in the answer


def statistics(values: np.ndarray, whole: int) -> dict[str, Any]:
    """Of a flat array, which stores some of ``whole`` elements; the others are zeros.

    ``minimum, maximum, mean, std`` over finite values, ``zeros, nan, infinite`` as counts, ``sparsity`` as a share,
    ``values`` the first ones. ``histogram`` has ``edges`` (65 numbers) and ``counts`` (64) over the finite values. std is
    the population's. Of texts only ``values``.
    """
    if values.dtype.kind in "OSU":
        return {"values": [cut(str(v), TEXT) for v in values[:SHOWN]]}
    pieces = [values[k : k + PIECE] for k in range(0, values.size, PIECE)]
    zeros = nan = infinite = finite = 0
    total, low, high = np.longdouble(0), np.inf, -np.inf
    for piece in map(real, pieces):
        zeros += int((piece == 0).sum())
        nan += int(np.isnan(piece).sum())
        infinite += int(np.isinf(piece).sum())
        piece = piece[np.isfinite(piece)]
        finite += piece.size
        if piece.size:
            total += piece.sum(dtype=np.longdouble)
            low, high = min(low, float(piece.min())), max(high, float(piece.max()))
    zeros = min(zeros + max(whole - values.size, 0), MAX_EXACT)
    out: dict[str, Any] = {
        "zeros": zeros,
        "sparsity": min(zeros / whole, 1.0) if whole > 0 else 0.0,
        "nan": nan,
        "infinite": infinite,
    }
    out |= {"values": [_json(v) for v in real(values[:SHOWN])]}
    if not finite:
        return out
    mean = float(total / finite)
    scale = 2.0**-600 if max(-low, high) > 2.0**500 else 1.0  # squares and differences of the largest would be infinite
    edges = np.linspace(low * scale, high * scale, BINS + 1) / scale
    if low == high:
        edges = np.linspace(low - 0.5, low + 0.5, BINS + 1)
    counts, squares = np.zeros(BINS, np.int64), 0.0
    for piece in map(real, pieces):
        piece = piece[np.isfinite(piece)]
        counts += np.histogram(piece, edges)[0]
        squares += float(((piece * scale - mean * scale) ** 2).sum())
    std = float(np.sqrt(squares / finite)) / scale
    out |= {"minimum": low, "maximum": high, "mean": mean, "std": std}
    return out | {"histogram": {"edges": edges.tolist(), "counts": counts.tolist()}}


def real(values: np.ndarray) -> np.ndarray:
    """As float64; complex numbers by their magnitude, 4-bit and 8-bit floats by their value."""
    return wide(np.abs(values) if values.dtype.kind == "c" else values)


def _json(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return float(value) if np.isfinite(value) else str(value)
