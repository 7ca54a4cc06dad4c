"""How sure an accuracy is, and whether two of them differ. Pure Python."""

from __future__ import annotations

from math import comb, sqrt

Z = 1.959963984540054  # two-sided 95 % of a normal distribution


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927; Brown, Cai & DasGupta 2001, eq. 4). (0, 1) where ``count`` is 0."""
    if count == 0:
        return 0.0, 1.0
    share, square = correct / count, Z * Z
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = Z / (1 + square / count) * sqrt(share * (1 - share) / count + square / (4 * count * count))
    low = 0.0 if correct == 0 else max(0.0, centre - half)  # rounding may leave 1e-17
    return low, 1.0 if correct == count else min(1.0, centre + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test (1947): of the pictures that one of two classifiers got right and the other
    wrong, how likely is a division at least so uneven by chance? 1.0 where there are none."""
    n, k = only_first + only_second, min(only_first, only_second)
    if n > 10_000:  # the exact sum is slow there and the normal form as good (with continuity correction)
        from statistics import NormalDist

        return min(1.0, 2 * NormalDist().cdf(-(abs(only_first - only_second) - 1) / sqrt(n)))
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
