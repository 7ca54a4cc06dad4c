"""Chooses a calibration method and the layers that stay float, by running candidates on the calibration inputs.

Independent of the format: a ``Quantiser`` creates candidates, and each is compared with the float model. The layers that
hurt most stay float until the floor is met. Noise adds up: that of 60 layers of EfficientNet-Lite0, each quantised alone,
sums to 0.0196 of the signal, and all of them together have 17.1 dB SQNR. So one pass over the layers ranks them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lib.convert.proof import quality
from lib.convert.tools.calibration import Row
from lib.convert.tools.quantise.ranges import spread, within
from lib.error_measures import finite
from lib.errors import JobFailed

MAX_MEASURED = 64  # samples to measure candidates on
MAX_COMPARED = 16  # samples to compare methods on
MAX_RANKED = 4  # samples to measure a single layer on; its noise needs few
SECONDS = 75  # time budget of the whole search
FLOAT_SECONDS = 6  # time budget of the float model; the candidates take several times as long
RANKING = 0.6  # share of the time after which ranking single layers stops
MARGIN = 0.025  # required above the floor, for unseen inputs; at most half of the distance from the floor to 1
MARGIN_DB = 1.0
HALVINGS = 6  # how often the noise is halved by leaving layers float
Arrays = dict[str, np.ndarray]
Run = Callable[[Row], Arrays]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that can be quantised. ``name``: its name in the format; ``bytes``: of its float32 weights."""

    name: str
    kind: str
    bytes: int


class Quantiser(Protocol):
    """Creates candidates. ``methods``: names of calibration methods, the simplest first.

    ``reference`` returns the float model, ``candidate`` a quantised one: without the layers ``floats``, or with the layer
    ``only`` alone. Both raise JobFailed if the tool fails.
    """

    methods: Sequence[str]
    layers: list[Layer]

    def reference(self) -> Run: ...
    def candidate(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> Run: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate's quality on the calibration inputs. ``good``: it meets the floor; ``enough``: with a margin.

    ``value``: a share or dB, depending on ``metric``; ``figures``: ``sqnr_db`` of all outputs, and ``agreement`` if any.
    """

    good: bool
    enough: bool
    value: float | None
    metric: str
    figures: dict[str, float | None]


@dataclass(slots=True)
class Found:
    """The chosen ``method`` and the layers ``floats`` that stay float.

    - ``good``: whether the floor is met on the calibration inputs
    - ``measured``: figures of each method on the same few inputs
    - ``result``: figures of the chosen model on all of them
    - ``noise``: per layer, the noise's share of the signal with this layer alone quantised
    """

    method: str
    floats: frozenset[str]
    good: bool
    value: float | None
    metric: str
    measured: dict[str, Any]
    result: dict[str, Any]
    noise: dict[str, float] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


def search(quantiser: Quantiser, rows: list[Row], floor: float, report: Callable[[float], object], least: int = 0) -> Found:
    """Finds the smallest set of float layers that meets the floor with a margin, or the best within the time limit.

    ``floor``: share of equal top classes; outputs other than class scores have their own floor (``quality``). ``least``:
    number of layers that stay float in any case, for users whose inputs are harder than ``rows``.
    """
    return _Search(quantiser, spread(rows, MAX_MEASURED), floor, report).found(least)


class _Search:
    def __init__(self, quantiser: Quantiser, rows: list[Row], floor: float, report: Callable[[float], object]) -> None:
        self._quantiser, self._rows, self._floor, self._report = quantiser, rows, floor, report
        self._begun = time.monotonic()
        run = quantiser.reference()
        self._expected = [run(row) for row in within(rows, FLOAT_SECONDS)]
        self._rows = rows[: len(self._expected)]
        self._names = [n for n, v in self._expected[0].items() if v.size and v.dtype.kind in "fiub"] if rows else []

    def found(self, least: int = 0) -> Found:
        methods = self._quantiser.methods
        measured: dict[str, Any] = {}
        for k, method in enumerate(methods if len(methods) > 1 else ()):
            # noise separates methods better than top classes, which change on few samples
            run, rows = self._quantiser.candidate(method), spread(self._rows, MAX_COMPARED)
            noise = _noise(self._names, spread(self._expected, MAX_COMPARED), [run(row) for row in rows])
            measured[method] = {"sqnr_db": _decibels(noise)}
            self._report(0.2 * (k + 1) / len(methods))
            if self._late(RANKING / 2):
                break
        method = max(measured, key=lambda m: measured[m]["sqnr_db"]) if measured else methods[0]
        best = self._measure(method, frozenset())
        out = Found(method, frozenset(), best.good, best.value, best.metric, measured, best.figures)
        if (least or not best.enough) and self._names and len(self._quantiser.layers) > 1:
            self._keep(out, best, least)
        return out

    def _keep(self, out: Found, best: Measured, least: int) -> None:
        """Leaves layers float, those with the most noise for their size first.

        Halves the remaining noise until the candidate is good enough, then bisects to the fewest layers, at least ``least``.
        """
        out.noise = self._rank(out.method)
        size = {layer.name: layer.bytes for layer in self._quantiser.layers}
        mean = sum(size.values()) / len(size) + 1
        # noise relative to size, since a classifier's last layer is often a third of the file
        order = sorted(out.noise, key=lambda name: out.noise[name] / (size[name] + mean), reverse=True)
        tried: dict[int, Measured] = {0: best}
        least = min(least, len(order) - 1)
        low, high = max(0, least - 1), None
        counts = [count for count in _counts([out.noise[name] for name in order]) if count > least]
        for count in [least, *counts] if least > 0 else counts:
            if self._late(1):
                break
            tried[count] = self._measure(out.method, frozenset(order[:count]))
            if tried[count].enough:
                high = count
                break
            low = count
        while high is not None and high - low > 1 and not self._late(1):
            middle = (low + high) // 2
            tried[middle] = self._measure(out.method, frozenset(order[:middle]))
            low, high = (low, middle) if tried[middle].enough else (middle, high)
        if least > 0 and len(tried) > 1:
            del tried[0]
        chosen = high if high is not None else _best(tried)
        out.floats = frozenset(order[:chosen])
        out.good, out.value = tried[chosen].good, tried[chosen].value
        out.result = tried[chosen].figures
        if high is None and self._late(1):
            out.messages.append("The time for choosing float layers ran out; the best so far was used.")

    def _rank(self, method: str) -> dict[str, float]:
        """Returns per layer the outputs' mean square error / mean square, with this layer alone quantised."""
        rows, out = spread(self._rows, MAX_RANKED), {}
        expected = spread(self._expected, MAX_RANKED)
        layers = _ends_first(self._quantiser.layers)
        for k, layer in enumerate(layers):
            if self._late(RANKING):
                break
            with suppress(JobFailed):  # some layers cannot be quantised without their neighbours
                run = self._quantiser.candidate(method, only=layer.name)
                out[layer.name] = _noise(self._names, expected, [run(row) for row in rows])
            self._report(0.3 + 0.4 * (k + 1) / len(layers))
        return out

    def _measure(self, method: str, floats: frozenset[str]) -> Measured:
        run = self._quantiser.candidate(method, floats)
        outputs = [run(row) for row in self._rows]
        figures: dict[str, float | None] = {"sqnr_db": _decibels(_noise(self._names, self._expected, outputs))}
        task_quality = quality.measure_all(
            self._names, self._expected, outputs, "int8", on="calibration inputs", min_agreement=self._floor
        ) if self._names else None  # fmt: skip
        if task_quality is None:
            return Measured(True, True, None, "", figures)
        share = "dB" not in task_quality.metric
        needed = task_quality.floor + (min(MARGIN, (1 - task_quality.floor) / 2) if share else MARGIN_DB)
        if share:
            figures["agreement"] = task_quality.value
        enough = task_quality.good and (task_quality.value is None or task_quality.value >= needed)
        return Measured(task_quality.good, enough, task_quality.value, task_quality.metric, figures)

    def _late(self, share: float) -> bool:
        return time.monotonic() - self._begun > share * SECONDS


def _counts(noise: list[float]) -> list[int]:
    """Returns how many layers, the worst first, account for 1/2, 3/4, 7/8, ... of all noise."""
    total, cumulative = sum(noise), np.cumsum(noise)
    shares = [1 - 0.5**k for k in range(1, HALVINGS + 1)]
    return (
        sorted({int(np.searchsorted(cumulative, share * total)) + 1 for share in shares} & set(range(1, len(noise))))
        if total
        else []
    )


def _best(tried: dict[int, Measured]) -> int:
    """Returns the number of float layers of the best candidate, the fewest among equals."""

    def rank(count: int) -> tuple[bool, float, int]:
        value = tried[count].value
        return tried[count].good, np.inf if value is None else value, -count

    return max(tried, key=rank)


def _noise(names: list[str], expected: list[Arrays], ours: list[Arrays]) -> float:
    """Returns the largest error / signal power ratio of the float outputs; ignores others and changed shapes."""
    shares = [0.0]
    for name in names:
        error = signal = 0.0
        for a, b in zip(expected, ours, strict=True):
            if a[name].dtype.kind != "f" or name not in b or a[name].shape != b[name].shape:
                continue
            reference, candidate = finite(a[name], b[name])
            error += float(((reference - candidate) ** 2).sum())
            signal += float((reference**2).sum())
        shares.append(error / signal if signal else float(error > 0))
    return max(shares)


def _decibels(noise: float) -> float:
    return round(-10 * float(np.log10(max(noise, 1e-12))), 1)


def _ends_first(layers: list[Layer]) -> list[Layer]:
    """Orders layers first, last, second, last but one, ..., since those at the ends are the likeliest to hurt."""
    out = [layer for pair in zip(layers, reversed(layers), strict=True) for layer in pair]
    return list(dict.fromkeys(out))
