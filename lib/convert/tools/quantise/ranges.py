"""Ranges of tensors over the calibration samples, and how much of them eight bits should cover.

Two passes: ``see`` every sample, then ``count`` some of them. Memory use does not depend on their number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

BINS = 2048
LEVELS = 256
MIN_SAMPLES = 4  # samples per pass, regardless of the time limit
PASS_SECONDS = 60
COUNTED = 32  # samples that the histograms use
MAX_HISTOGRAM_VALUES = 1 << 15  # values per tensor and sample added to a histogram
PERCENTILE = 99.99  # of the values; the rest is clipped at both ends
SMALLEST = 0.3  # smallest share of the whole range that "entropy" tries
STEPS = 36
SMOOTHING = 0.95  # of AI Edge Quantizer's moving average
Range = tuple[float, float]


class Ranges:
    """Ranges by tensor name. Ignores values that are not finite; ``empty`` lists tensors that never had a value.

    ``samples``: how many were seen.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._whole: dict[str, Range] = {}
        self._empty: set[str] = set()
        self._average: dict[str, Range] = {}
        self._counts: dict[str, np.ndarray] = {}

    def see(self, tensors: Mapping[str, np.ndarray]) -> None:
        """First pass: records the minimum and maximum of each tensor in one sample."""
        self.samples += 1
        for name, values in tensors.items():
            if (finite := _finite(values)).size:
                low, high = float(finite.min()), float(finite.max())
                previous = self._whole.get(name, (low, high))
                self._whole[name] = min(previous[0], low), max(previous[1], high)
                a, b = self._average.get(name, (low, high))
                self._average[name] = a + (1 - SMOOTHING) * (low - a), b + (1 - SMOOTHING) * (high - b)
            elif not values.size:
                self._empty.add(name)

    def count(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Second pass: adds values to each tensor's histogram; large tensors are subsampled evenly."""
        for name, values in tensors.items():
            if name in self._whole and (finite := _finite(values)).size:
                step = -(-finite.size // MAX_HISTOGRAM_VALUES)
                counts, _ = np.histogram(finite[::step], BINS, self._edges(name))
                self._counts[name] = self._counts.get(name, 0) + counts

    def empty(self) -> set[str]:
        """Returns the names of tensors that were empty and never had a finite value."""
        return self._empty - self._whole.keys()

    def minmax(self) -> dict[str, Range]:
        """Returns the ranges of all values seen."""
        return dict(self._whole)

    def average(self) -> dict[str, Range]:
        """Moving averages of the minima and maxima, as in AI Edge Quantizer; robust to a single outlier sample."""
        return dict(self._average)

    def percentile(self) -> dict[str, Range]:
        """Ranges without the outermost (100 - PERCENTILE) % of the values, half at each end."""
        return {name: self._cut(name, counts) for name, counts in self._counts.items()}

    def entropy(self) -> dict[str, Range]:
        """Ranges shrunk towards zero to minimise the information that eight bits lose (TensorRT's entropy calibration)."""
        return {name: self._least_lost(name, counts) for name, counts in self._counts.items()}

    def _edges(self, name: str) -> Range:
        low, high = self._whole[name]
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _cut(self, name: str, counts: np.ndarray) -> Range:
        low, high = self._edges(name)
        if self._whole[name][0] == self._whole[name][1]:
            return self._whole[name]
        share = np.cumsum(counts) / counts.sum()
        tail = (100 - PERCENTILE) / 200
        first_bin = int(np.searchsorted(share, tail, "right"))
        last_bin = int(np.searchsorted(share, 1 - tail, "left"))
        width = (high - low) / BINS
        # a frequent value at one end, such as a ReLU's zero, is no outlier: its bin stays
        return low + first_bin * width, low + (min(last_bin, BINS - 1) + 1) * width

    def _least_lost(self, name: str, counts: np.ndarray) -> Range:
        low, high = self._whole[name]
        if not high > low:
            return low, high
        edges = np.linspace(low, high, BINS + 1)
        counts = counts.copy()
        if low <= 0 <= high:  # zero is represented exactly, and a ReLU outputs many
            counts[min(int(np.searchsorted(edges, 0, "right")) - 1, BINS - 1)] = 0
        best, best_range = np.inf, (low, high)
        for share in np.linspace(1, SMALLEST, STEPS):
            a = low * share if low < 0 else low
            b = high * share if high > 0 else high
            first_bin, last_bin = np.searchsorted(edges, a, "right") - 1, np.searchsorted(edges, b, "left")
            if (lost := _divergence(counts, max(int(first_bin), 0), min(int(last_bin), BINS))) < best:
                best, best_range = lost, (a, b)
        return best_range


METHODS: dict[str, Callable[[Ranges], dict[str, Range]]] = {
    "minmax": Ranges.minmax,
    "percentile": Ranges.percentile,
    "entropy": Ranges.entropy,
    "moving average": Ranges.average,
}


def _divergence(counts: np.ndarray, first: int, last: int) -> float:
    """Returns the Kullback-Leibler divergence of the bins ``first`` to ``last`` from the same bins after quantisation.

    Values beyond are clipped to the outer bins.
    """
    inner = counts[first:last].astype(float)
    if inner.sum() == 0:
        return np.inf
    clipped = inner.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    level = np.arange(len(inner)) * LEVELS // max(len(inner), LEVELS)
    totals = np.bincount(level, inner)
    filled = inner > 0
    spread = np.where(filled, (totals / np.maximum(np.bincount(level, filled), 1))[level], 0)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    both = (p > 0) & (q > 0)
    missing = p[(p > 0) & (q == 0)].sum()  # values clipped into an empty bin
    return float((p[both] * np.log(p[both] / q[both])).sum() + missing * np.log(1e6))


def spread(values: list[Any], most: int) -> list[Any]:
    """Returns at most ``most`` of the values, evenly spaced."""
    return values if len(values) <= most else [values[k] for k in np.linspace(0, len(values) - 1, most).astype(int)]


def within(values: list[Any], seconds: float, least: int = MIN_SAMPLES) -> Iterator[Any]:
    """Yields values until ``seconds`` have passed, but at least ``least`` of them."""
    begun = time.monotonic()
    for done, value in enumerate(values):
        if done >= least and time.monotonic() - begun > seconds:
            return
        yield value


def _finite(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values).reshape(-1)
    return flat if np.isfinite(flat).all() else flat[np.isfinite(flat)]
