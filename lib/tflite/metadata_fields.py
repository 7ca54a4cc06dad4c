"""What a TensorFlow Lite file says about itself, as plain values. Knows neither the file nor its format."""

from __future__ import annotations

from dataclasses import dataclass, field

LABELS = "labels.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorNote:
    """What the metadata say about an input or output.

    ``content``: "image RGB", "image GRAYSCALE", "image", "feature", "bounding box", "audio", or "" where it is not said.
    ``range``: smallest and largest value, None where it is not said. ``shape`` is the graph's (-1: free); it is read
    from the file, never written, and () for notes that were not read from one.
    """

    name: str = ""
    description: str = ""
    content: str = ""
    range: tuple[float, float] | None = None
    shape: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Metadata of the first graph of a file.

    ``labels`` name the entries of the last axis of the first labelled output, in order. ``mean`` and ``std`` are what
    a reader applies to pictures of 0..255 before the graph, (x - mean) / std: one number, or one a channel.
    ``files``: the other associated files by name. ``rest`` holds the metadata as they were read, for what has no
    field here (score calibration, tokenizers, groups): ``write`` keeps it.
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
