"""Emulates a lossy precision: rounds the source model and runs it, as a baseline for the file that a tool wrote.

``emulated`` rounds the source's weights and activations as the target format prescribes and runs the result. The ``draws``
repeat this on randomly shifted rounding grids; their spread is the error that the format alone explains on these inputs.
``faithfulness.assess`` (numpy only) compares the two. None of the conversion tools is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.convert.emulation.draws import Arrays, Emulation
from lib.convert.formats import find
from lib.errors import JobFailed

MAX_BYTES = 1_900_000_000  # of the source's files: a larger copy would exceed protobuf's size limit
MAX_DRAWN = 1_000_000_000  # bytes; larger sources are only rounded to nearest, without draws
DRAWS = ((4_000_000, 7), (200_000_000, 3), (MAX_DRAWN, 2))  # (bytes of the source, draws); fewer if a draw is slow


def emulated(target_format: str, source: Path, target: Path, inputs: list[Arrays], seed: int = 0) -> Emulation | None:
    """Emulates the hop from the artifact folder ``source`` to the artifact folder ``target``.

    Returns None if the source is too large or the format has no emulation. ``inputs`` are keyed by the source artifact's
    names. Raises InvalidFile for a bad artifact. If a runtime refuses the rounded source, ``outputs`` is empty and
    ``notes`` holds the reason.
    """
    size = sum(p.stat().st_size for p in source.iterdir() if p.is_file())
    if size > MAX_BYTES:
        return None
    count = next((draws for limit, draws in DRAWS if size <= limit), 0)
    if (fill := _filler(target_format)) is None:
        return None
    emulation = Emulation(masks=[_mask(arrays) for arrays in inputs])
    try:
        fill(emulation, source, target, inputs, seed, count)
    except JobFailed as error:
        emulation.outputs, emulation.draws = [], []
        emulation.notes.append(error.message)
    return emulation


def _filler(format: str) -> Callable[[Emulation, Path, Path, list[Arrays], int, int], None] | None:
    """Returns the format's ``fill`` function, or None. Imported on demand, since each one imports its framework."""
    module, _, name = find(format).emulation.partition(":")
    return getattr(importlib.import_module(f"lib.convert.emulation.{module}"), name) if module else None


def _mask(inputs: Arrays) -> np.ndarray | None:
    """Returns the attention mask as bool, True where a token counts; None if there is no such input."""
    for name, value in inputs.items():
        plain = value.dtype.kind in "iub" and value.ndim == 2
        if (
            "mask" in name.lower()
            and "pad" not in name.lower()
            and plain
            and value.size
            and np.isin(value, (0, 1)).all()
            and value.any()
        ):
            return value.astype(bool)
    return None
