"""The metadata of a TensorFlow Lite file as plain values. Independent of the file and its format."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from lib.errors import InvalidValue


def float32(values: Sequence[float], name: str) -> tuple[float, ...]:
    """Returns the values rounded to float32. Raises InvalidValue unless all are finite."""
    try:
        rounded = tuple(struct.unpack("<f", struct.pack("<f", v))[0] for v in values)
    except (OverflowError, struct.error):
        rounded = (math.nan,)
    if not all(map(math.isfinite, rounded)):
        raise InvalidValue(name, list(values), "finite numbers that float32 holds")
    return rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorNote:
    """Metadata of an input or output.

    ``content``: "image RGB", "image GRAYSCALE", "image", "feature", "bounding box", "audio", or "" if not specified.
    ``range``: smallest and largest value, None if not specified. ``shape`` is that of the graph (-1: dynamic), which
    is read from the file and never written; () for notes that were not read from a file.
    """

    name: str = ""
    description: str = ""
    content: str = ""
    range: tuple[float, float] | None = None
    shape: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.range is not None:
            object.__setattr__(self, "range", float32(self.range, "range"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Metadata of the first graph of a file.

    ``labels`` name the entries of the last axis of the first labelled output, in order. ``mean`` and ``std`` (float32)
    are applied by readers to pixels in 0..255 before the graph, (x - mean) / std: one number, or one per channel.
    ``files``: other associated files by name. ``rest``: the metadata as read, including what has no field here (score
    calibration, tokenizers, groups), which ``write`` keeps.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    inputs: tuple[TensorNote, ...] = ()
    outputs: tuple[TensorNote, ...] = ()
    rest: bytes = field(default=b"", compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, float32(getattr(self, name), name))
        for name in ("labels", "inputs", "outputs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
