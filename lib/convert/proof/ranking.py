"""Aligns detections before they are compared. They are ranked by score, and rounding may swap rows of equal scores.

Only rows whose scores agree are reordered; the tolerance of every value stays the same. numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Arrays = dict[str, np.ndarray]
ROWS, SCORES = "detections", "scores"  # the name of their dimension and of the output that ranks them
EQUAL = 1e-3  # of a score: what two runs of one model may make of it


def aligned(expected: Arrays, ours: Arrays, ranked: Sequence[str]) -> Arrays:
    """``ours`` with its rows in the order of ``expected``. ``ranked``: outputs with one row a detection.

    Unchanged if the numbers of rows differ, or nothing is ranked.
    """
    names = [n for n in ranked if n in expected and n in ours and expected[n].shape == ours[n].shape]
    rows = {len(expected[n]) for n in names if expected[n].ndim}
    if SCORES not in names or len(names) < len(ranked) or len(rows) != 1:
        return ours
    mine, theirs = ours[SCORES].astype(np.float64), expected[SCORES].astype(np.float64)
    features = [(_flat(expected[n]), _flat(ours[n])) for n in names if n != SCORES]
    free, order = np.ones(len(mine), bool), np.full(len(theirs), -1)
    for row, score in enumerate(theirs):
        near = np.flatnonzero(free & (np.abs(mine - score) <= EQUAL * abs(score)))
        if near.size:
            gaps = sum((np.abs(b[near] - a[row]).max(1, initial=0.0) for a, b in features), np.zeros(near.size))
            order[row] = near[int(np.argmin(gaps))]
            free[order[row]] = False
    order[order < 0] = np.flatnonzero(free)
    return ours | {n: ours[n][order] for n in names}


def _flat(value: np.ndarray) -> np.ndarray:
    return np.nan_to_num(value.astype(np.float64)).reshape(len(value), int(np.prod(value.shape[1:])))
