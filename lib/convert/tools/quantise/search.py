"""Which ranges, and which layers stay float: decided by what the quantised model does on the calibration's inputs.

Knows no format. A ``Quantiser`` makes candidates; each is run beside the float model. Layers that hurt most stay float
until the floor is met. The noise of layers quantised one alone adds up to that of all together (measured: 0.0196 of the
signal for 60 layers of EfficientNet-Lite0, and 17.1 dB for all), so one pass over the layers ranks them.
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

MAX_MEASURED = 64  # samples that candidates are measured on
MAX_COMPARED = 16  # samples that tell methods apart
MAX_RANKED = 4  # samples that a single layer is measured on: its noise needs few
SECONDS = 75  # of all measuring together
FLOAT_SECONDS = 6  # of the float model on these samples; what comes later takes as long several times over
RANKING = 0.6  # of these, at most, for layers one by one
MARGIN = 0.025  # above the floor, for inputs that nobody has seen; at most half of what the floor leaves to 1
MARGIN_DB = 1.0
HALVINGS = 6  # of the noise, by leaving layers float
Arrays = dict[str, np.ndarray]
Run = Callable[[Row], Arrays]


@dataclass(frozen=True, slots=True)
class Layer:
    """``name`` as the format has it; ``bytes`` of its float32 weights."""

    name: str
    kind: str
    bytes: int


class Quantiser(Protocol):
    """``methods`` name ways to measure ranges, the plainest first. ``candidate`` is a quantised model ready to run:
    without the layers ``floats``, or with nothing but the layer ``only``. Both raise JobFailed where the tool gives up.
    """

    methods: Sequence[str]
    layers: list[Layer]

    def reference(self) -> Run: ...
    def candidate(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> Run: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate on the calibration's inputs. ``good``: the floor is met; ``enough``: with a margin.

    ``value`` is a share or dB, by ``metric``; ``figures``: ``sqnr_db`` of all outputs, and ``agreement`` where there is one.
    """

    good: bool
    enough: bool
    value: float | None
    metric: str
    figures: dict[str, float | None]


@dataclass(slots=True)
class Found:
    """``method`` and ``floats`` are what to make. ``measured``: figures of each method on the same few inputs; ``result``:
    of what was chosen, on all; ``noise``: by layer, its share of the signal when quantised alone; ``good``: the floor is
    met on the calibration's inputs."""

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
    """The smallest set of float layers that meets the floor with a margin, or the best that the time allowed.

    ``floor`` is a share of equal top classes; outputs that are no class scores have a floor of their own (``quality``).
    ``least`` layers stay float in any case: for who knows inputs that fare worse than ``rows``.
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
            # noise tells methods apart more finely than classes, of which few samples change
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
        """Leaves layers float, the worst for their size first, until half of the noise is gone, then half of the rest and
        so on; then as few as the search can halve to, but ``least``."""
        out.noise = self._rank(out.method)
        size = {layer.name: layer.bytes for layer in self._quantiser.layers}
        mean = sum(size.values()) / len(size) + 1
        # noise for what it costs: a classifier's last layer is often a third of the file
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
            out.messages.append("The time for choosing float layers ran out; the best so far was taken.")

    def _rank(self, method: str) -> dict[str, float]:
        """By layer: mean square error of the outputs / their mean square, with nothing else quantised."""
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
        ours = [run(row) for row in self._rows]
        figures: dict[str, float | None] = {"sqnr_db": _decibels(_noise(self._names, self._expected, ours))}
        judged = quality.measure_all(
            self._names, self._expected, ours, "int8", on="calibration inputs", min_agreement=self._floor
        ) if self._names else None  # fmt: skip
        if judged is None:
            return Measured(True, True, None, "", figures)
        share = "dB" not in judged.metric
        wanted = judged.floor + (min(MARGIN, (1 - judged.floor) / 2) if share else MARGIN_DB)
        if share:
            figures["agreement"] = judged.value
        enough = judged.good and (judged.value is None or judged.value >= wanted)
        return Measured(judged.good, enough, judged.value, judged.metric, figures)

    def _late(self, share: float) -> bool:
        return time.monotonic() - self._begun > share * SECONDS


def _counts(noise: list[float]) -> list[int]:
    """How many of the layers, the worst first, take away a half of all noise, three quarters, seven eighths ..."""
    total, gone = sum(noise), np.cumsum(noise)
    shares = [1 - 0.5**k for k in range(1, HALVINGS + 1)]
    return (
        sorted({int(np.searchsorted(gone, share * total)) + 1 for share in shares} & set(range(1, len(noise))))
        if total
        else []
    )


def _best(tried: dict[int, Measured]) -> int:
    """The fewest float layers among those that do best."""

    def rank(count: int) -> tuple[bool, float, int]:
        value = tried[count].value
        return tried[count].good, np.inf if value is None else value, -count

    return max(tried, key=rank)


def _noise(names: list[str], expected: list[Arrays], ours: list[Arrays]) -> float:
    """Worst of the float outputs; integers and outputs of another shape count by equality."""
    shares = [0.0]
    for name in names:
        error = signal = 0.0
        for a, b in zip(expected, ours, strict=True):
            if a[name].dtype.kind != "f" or name not in b or a[name].shape != b[name].shape:
                continue
            one, two = finite(a[name], b[name])
            error += float(((one - two) ** 2).sum())
            signal += float((one**2).sum())
        shares.append(error / signal if signal else float(error > 0))
    return max(shares)


def _decibels(noise: float) -> float:
    return round(-10 * float(np.log10(max(noise, 1e-12))), 1)


def _ends_first(layers: list[Layer]) -> list[Layer]:
    """First, last, second, last but one ...: if the time runs out, the likeliest to hurt have been measured."""
    out = [layer for pair in zip(layers, reversed(layers), strict=True) for layer in pair]
    return list(dict.fromkeys(out))
