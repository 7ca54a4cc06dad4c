"""Confidence intervals of accuracies, and a test whether two accuracies differ. Pure Python."""

from __future__ import annotations

from math import comb, sqrt

Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution: two-sided 95 %


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval of a proportion (Wilson 1927; Brown, Cai & DasGupta 2001, eq. 4).

    (0, 1) if ``count`` is 0.
    """
    if count == 0:
        return 0.0, 1.0
    share, square = correct / count, Z * Z
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = Z / (1 + square / count) * sqrt(share * (1 - share) / count + square / (4 * count * count))
    low = 0.0 if correct == 0 else max(0.0, centre - half)  # rounding could leave 1e-17
    return low, 1.0 if correct == count else min(1.0, centre + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Returns the two-sided p-value of McNemar's exact test (1947), 1.0 without discordant pairs.

    ``only_first`` and ``only_second`` count the pictures that only this one of two classifiers got right. p is the
    probability of a split at least this uneven if both classifiers are equally accurate.
    """
    n, k = only_first + only_second, min(only_first, only_second)
    if n > 10_000:  # the exact sum is slow, and the normal approximation (with continuity correction) as good
        from statistics import NormalDist

        return min(1.0, 2 * NormalDist().cdf(-(abs(only_first - only_second) - 1) / sqrt(n)))
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
