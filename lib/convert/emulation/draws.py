"""Outputs of the source rounded to a lossy precision: once to nearest, and several times at random."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]
LONG = 10.0  # seconds of the first run of all inputs; if it takes longer, there are fewer draws
MAX_HELD = 1_000_000_000  # bytes of outputs of all draws


@dataclass(slots=True)
class Emulation:
    """``outputs``: one dict an input, by the source's names: the source with its numbers rounded to nearest.

    ``draws``: the same with rounding on shifted grids; each is a list like ``outputs``. ``weights``: complaints about
    weights of the file that are not the source's, rounded. ``compared`` of ``weight_count`` weight tensors could be matched.
    ``masks``: for each input a [batch, sequence] array, True where a row counts; None without an attention mask.
    """

    outputs: list[Arrays] = field(default_factory=list)
    draws: list[list[Arrays]] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    compared: int = 0
    weight_count: int = 0
    masks: list[np.ndarray | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_draws(found: Emulation, run: Callable[[np.random.Generator | None], list[Arrays]], seed: int, draws: int) -> None:
    """Fills ``outputs`` with ``run(None)`` and ``draws`` with ``run(generator)``; fewer draws if a run is slow or large."""
    start = time.monotonic()
    found.outputs = run(None)
    seconds = time.monotonic() - start
    held = sum(value.nbytes for some in found.outputs for value in some.values())
    for most, fewer in ((LONG, 2), (4 * LONG, 0)):
        draws = min(draws, fewer) if seconds > most else draws
    draws = min(draws, MAX_HELD // max(held, 1))
    rng = np.random.default_rng(seed)
    found.draws = [run(rng) for _ in range(draws)]
