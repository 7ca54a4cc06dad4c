"""Outputs of the source rounded to a lossy precision: once to nearest, and several times on randomly shifted grids."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]
LONG = 10.0  # seconds for the first run over all inputs; if it takes longer, fewer draws are made
MAX_HELD = 1_000_000_000  # bytes of outputs kept over all draws


@dataclass(slots=True)
class Emulation:
    """Outputs of the rounded source, and the comparison of the file's weights with the source's.

    - ``outputs``: one dict per input, keyed by the source's names, with every number rounded to nearest
    - ``draws``: the same on randomly shifted rounding grids; each draw is a list like ``outputs``
    - ``weights``: complaints about weights in the file that are not the source's weights, rounded
    - ``compared``: how many of the ``weight_count`` weight tensors could be matched
    - ``masks``: per input a bool array [batch, sequence], True for positions that count; None without an attention mask
    - ``notes``: why the emulation could not run
    """

    outputs: list[Arrays] = field(default_factory=list)
    draws: list[list[Arrays]] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    compared: int = 0
    weight_count: int = 0
    masks: list[np.ndarray | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_draws(found: Emulation, run: Callable[[np.random.Generator | None], list[Arrays]], seed: int, draws: int) -> None:
    """Fills ``outputs`` with ``run(None)`` and ``draws`` with ``run(generator)``; fewer draws if runs are slow or large."""
    start = time.monotonic()
    found.outputs = run(None)
    seconds = time.monotonic() - start
    output_bytes = sum(value.nbytes for arrays in found.outputs for value in arrays.values())
    for limit, fewer in ((LONG, 2), (4 * LONG, 0)):
        draws = min(draws, fewer) if seconds > limit else draws
    draws = min(draws, MAX_HELD // max(output_bytes, 1))
    rng = np.random.default_rng(seed)
    found.draws = [run(rng) for _ in range(draws)]
