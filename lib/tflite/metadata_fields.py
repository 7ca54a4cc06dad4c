"""What a TensorFlow Lite file says about itself, as plain values. Knows neither the file nor its format."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from lib.errors import InvalidValue


def float32(values: Sequence[float], name: str) -> tuple[float, ...]:
    """Finite numbers as the file holds them."""
    try:
        found = tuple(struct.unpack("<f", struct.pack("<f", v))[0] for v in values)
    except (OverflowError, struct.error):
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise InvalidValue(name, list(values), "finite numbers that float32 holds")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorNote:
    """What the metadata say about an input or output.

    ``content``: "image RGB", "image GRAYSCALE", "image", "feature", "bounding box", "audio", or "" where it is not said.
    ``range``: smallest and largest value, None where it is not said. ``shape`` is the graph's (-1: free): read from
    the file and never written, () for notes that do not come from one.
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

    ``labels`` name the entries of the last axis of the first labelled output, in order. ``mean`` and ``std``
    (float32) are what a reader applies to pictures of 0..255 before the graph, (x - mean) / std: one number each, or
    one a channel each. ``files``: the other associated files by name. ``rest`` holds the metadata as they were read,
    for what has no field here (score calibration, tokenizers, groups): ``write`` keeps it.
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
