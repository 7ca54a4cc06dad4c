"""What every tensor reaches over the calibration's samples, and how much of that eight bits should cover.

Two passes: ``see`` every sample, then ``count`` some of them. Memory does not grow with their
number. Knows nothing of models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

BINS = 2048
LEVELS = 256
MIN_SAMPLES = 4  # samples of a pass, however long they take
PASS_SECONDS = 60
COUNTED = 32  # samples whose values go into the histograms
MAX_HISTOGRAM_VALUES = 1 << 15  # values of a tensor that one sample adds to its histogram
PERCENTILE = 99.99  # of the values; the rest is cut off at both ends
SMALLEST = 0.3  # share of the whole range that "entropy" tries, at least
STEPS = 36
SMOOTHING = 0.95  # of AI Edge Quantizer's moving average
Range = tuple[float, float]


class Ranges:
    """Ranges by tensor name. Values that are not finite are left out, and tensors that never have a value: ``empty``.

    ``samples`` were seen.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._whole: dict[str, Range] = {}
        self._empty: set[str] = set()
        self._average: dict[str, Range] = {}
        self._counts: dict[str, np.ndarray] = {}

    def see(self, tensors: Mapping[str, np.ndarray]) -> None:
        """The first pass: the ends of each tensor in one sample."""
        self.samples += 1
        for name, values in tensors.items():
            if (some := _finite(values)).size:
                low, high = float(some.min()), float(some.max())
                before = self._whole.get(name, (low, high))
                self._whole[name] = min(before[0], low), max(before[1], high)
                a, b = self._average.get(name, (low, high))
                self._average[name] = a + (1 - SMOOTHING) * (low - a), b + (1 - SMOOTHING) * (high - b)
            elif not values.size:
                self._empty.add(name)

    def count(self, tensors: Mapping[str, np.ndarray]) -> None:
        """The second pass: a histogram between the ends, of an even choice of a big tensor's values."""
        for name, values in tensors.items():
            if name in self._whole and (some := _finite(values)).size:
                step = -(-some.size // MAX_HISTOGRAM_VALUES)
                counts, _ = np.histogram(some[::step], BINS, self._edges(name))
                self._counts[name] = self._counts.get(name, 0) + counts

    def empty(self) -> set[str]:
        return self._empty - self._whole.keys()

    def minmax(self) -> dict[str, Range]:
        return dict(self._whole)

    def average(self) -> dict[str, Range]:
        """The ends' moving average, as AI Edge Quantizer takes it: one odd sample moves it little."""
        return dict(self._average)

    def percentile(self) -> dict[str, Range]:
        """Without the outermost values: (100 - PERCENTILE) % of them, half at each end."""
        return {name: self._cut(name, counts) for name, counts in self._counts.items()}

    def entropy(self) -> dict[str, Range]:
        """Shrunk towards zero to where eight bits lose least of the histogram's information (as TensorRT does)."""
        return {name: self._least_lost(name, counts) for name, counts in self._counts.items()}

    def _edges(self, name: str) -> Range:
        low, high = self._whole[name]
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _cut(self, name: str, counts: np.ndarray) -> Range:
        low, high = self._edges(name)
        if self._whole[name][0] == self._whole[name][1]:
            return self._whole[name]
        share = np.cumsum(counts) / counts.sum()
        rest = (100 - PERCENTILE) / 200
        first = int(np.searchsorted(share, rest, "right"))
        last = int(np.searchsorted(share, 1 - rest, "left"))
        width = (high - low) / BINS
        # a value that half of the tensor has (a ReLU's zero) is no outlier: its bin stays
        return low + first * width, low + (min(last, BINS - 1) + 1) * width

    def _least_lost(self, name: str, counts: np.ndarray) -> Range:
        low, high = self._whole[name]
        if not high > low:
            return low, high
        edges = np.linspace(low, high, BINS + 1)
        counts = counts.copy()
        if low <= 0 <= high:  # zero itself is kept exactly, and a ReLU makes many
            counts[min(int(np.searchsorted(edges, 0, "right")) - 1, BINS - 1)] = 0
        best, found = np.inf, (low, high)
        for share in np.linspace(1, SMALLEST, STEPS):
            a = low * share if low < 0 else low
            b = high * share if high > 0 else high
            first, last = np.searchsorted(edges, a, "right") - 1, np.searchsorted(edges, b, "left")
            if (lost := _divergence(counts, max(int(first), 0), min(int(last), BINS))) < best:
                best, found = lost, (a, b)
        return found


METHODS: dict[str, Callable[[Ranges], dict[str, Range]]] = {
    "minmax": Ranges.minmax,
    "percentile": Ranges.percentile,
    "entropy": Ranges.entropy,
    "moving average": Ranges.average,
}


def _divergence(counts: np.ndarray, first: int, last: int) -> float:
    """Kullback-Leibler divergence of the bins ``first`` to ``last``, what is beyond put at their ends, from the same
    bins after quantisation."""
    inner = counts[first:last].astype(float)
    if inner.sum() == 0:
        return np.inf
    clipped = inner.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    level = np.arange(len(inner)) * LEVELS // max(len(inner), LEVELS)
    held = np.bincount(level, inner)
    filled = inner > 0
    spread = np.where(filled, (held / np.maximum(np.bincount(level, filled), 1))[level], 0)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    both = (p > 0) & (q > 0)
    missing = p[(p > 0) & (q == 0)].sum()  # values that were cut off into an empty bin
    return float((p[both] * np.log(p[both] / q[both])).sum() + missing * np.log(1e6))


def spread(values: list[Any], most: int) -> list[Any]:
    """At most ``most`` of them, evenly chosen."""
    return values if len(values) <= most else [values[k] for k in np.linspace(0, len(values) - 1, most).astype(int)]


def within(values: list[Any], seconds: float, least: int = MIN_SAMPLES) -> Iterator[Any]:
    """One after the other until the time is up, but ``least`` of them at least."""
    begun = time.monotonic()
    for done, value in enumerate(values):
        if done >= least and time.monotonic() - begun > seconds:
            return
        yield value


def _finite(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values).reshape(-1)
    return flat if np.isfinite(flat).all() else flat[np.isfinite(flat)]
