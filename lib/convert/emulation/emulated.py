"""What a lossy precision must give of its source: our own rounding of the source, run beside the file that a tool made.

``emulated`` rounds the source's weights and activations as the target format says and runs that; ``draws`` are the
same with the grid of the rounding shifted at random, so their spread is what the format explains on these inputs.
``faithfulness.assess`` (numpy only) compares. Nothing here calls a tool that makes such files.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.convert.emulation.draws import Arrays, Emulation
from lib.convert.formats import find
from lib.errors import JobFailed

MAX_BYTES = 1_900_000_000  # of a source's files: beyond, its copy does not fit one protobuf and memory is short
MAX_DRAWN = 1_000_000_000  # beyond, one run of the rounded source and no draws
DRAWS = ((4_000_000, 7), (200_000_000, 3), (MAX_DRAWN, 2))  # bytes of the source: draws; few where one takes long


def emulated(target_format: str, source: Path, target: Path, inputs: list[Arrays], seed: int = 0) -> Emulation | None:
    """The lossy hop from the artifact ``source`` to the artifact ``target`` (folders); None where none is known for it.

    ``inputs`` by the source artifact's names. Raises InvalidFile for a bad artifact. Where a runtime refuses the rounded
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
    """Each imports its framework: none is needed to look at what they give."""
    module, _, name = find(format).emulation.partition(":")
    return getattr(importlib.import_module(f"lib.convert.emulation.{module}"), name) if module else None


def _mask(inputs: Arrays) -> np.ndarray | None:
    """True where a token counts; None where no input says so."""
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
