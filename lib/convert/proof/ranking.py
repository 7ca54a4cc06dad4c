"""Align detections before they are compared. They are ranked by score, and rounding may swap rows of equal scores.

Only rows whose scores agree are reordered; the tolerances stay the same. numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Arrays = dict[str, np.ndarray]
ROWS, SCORES = "detections", "scores"  # name of their dimension, and of the output that ranks them
EQUAL = 1e-3  # relative tolerance of equal scores


def aligned(expected: Arrays, ours: Arrays, ranked: Sequence[str]) -> Arrays:
    """Return ``ours`` with its rows in the order of ``expected``. ``ranked``: outputs with one row per detection.

    Unchanged if the numbers of rows differ or nothing is ranked.
    """
    names = [n for n in ranked if n in expected and n in ours and expected[n].shape == ours[n].shape]
    rows = {len(expected[n]) for n in names if expected[n].ndim}
    if SCORES not in names or len(names) < len(ranked) or len(rows) != 1:
        return ours
    our_scores, expected_scores = ours[SCORES].astype(np.float64), expected[SCORES].astype(np.float64)
    features = [(_flat(expected[n]), _flat(ours[n])) for n in names if n != SCORES]
    unused, order = np.ones(len(our_scores), bool), np.full(len(expected_scores), -1)
    for row, score in enumerate(expected_scores):
        candidates = np.flatnonzero(unused & (np.abs(our_scores - score) <= EQUAL * abs(score)))
        if candidates.size:
            gaps = sum((np.abs(b[candidates] - a[row]).max(1, initial=0.0) for a, b in features), np.zeros(candidates.size))
            order[row] = candidates[int(np.argmin(gaps))]
            unused[order[row]] = False
    order[order < 0] = np.flatnonzero(unused)
    return ours | {n: ours[n][order] for n in names}


def _flat(value: np.ndarray) -> np.ndarray:
    return np.nan_to_num(value.astype(np.float64)).reshape(len(value), int(np.prod(value.shape[1:])))
