"""Emulates a lossy precision: rounds the source here and runs it, to compare with the file that a tool made.

``emulated`` rounds the source's weights and activations as the target format says and runs the result. Its ``draws`` are
the same with a randomly shifted rounding grid; their spread is the error that the format explains on these inputs.
``faithfulness.assess`` (numpy only) compares. No tool that makes such files is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.convert.emulation.draws import Arrays, Emulation
from lib.convert.formats import find
from lib.errors import JobFailed

MAX_BYTES = 1_900_000_000  # of a source's files: a larger copy does not fit into one protobuf
MAX_DRAWN = 1_000_000_000  # a larger source is rounded to nearest only, without draws
DRAWS = ((4_000_000, 7), (200_000_000, 3), (MAX_DRAWN, 2))  # (bytes of the source, draws): fewer if a draw is slow


def emulated(target_format: str, source: Path, target: Path, inputs: list[Arrays], seed: int = 0) -> Emulation | None:
    """Emulates the hop from the artifact ``source`` to the artifact ``target`` (folders); None if that is not possible.

    ``inputs`` by the source artifact's names. Raises InvalidFile for a bad artifact. If a runtime refuses the rounded
    source, ``notes`` say so and ``outputs`` are empty.
    """
    size = sum(p.stat().st_size for p in source.iterdir() if p.is_file())
    if size > MAX_BYTES:
        return None
    count = next((draws for most, draws in DRAWS if size <= most), 0)
    if (fill := _filler(target_format)) is None:
        return None
    found = Emulation(masks=[_mask(some) for some in inputs])
    try:
        fill(found, source, target, inputs, seed, count)
    except JobFailed as error:
        found.outputs, found.draws = [], []
        found.notes.append(error.message)
    return found


def _filler(format: str) -> Callable[[Emulation, Path, Path, list[Arrays], int, int], None] | None:
    """The format's ``fill`` function. Imported only when needed, since each imports its framework."""
    module, _, name = find(format).emulation.partition(":")
    return getattr(importlib.import_module(f"lib.convert.emulation.{module}"), name) if module else None


def _mask(inputs: Arrays) -> np.ndarray | None:
    """The attention mask, True where a token counts; None without one."""
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
