"""Value types for trackers besides plain numbers. Plain data, independent of trackers and file formats.

torch is imported only to count a tensor, so that the app can import this module without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

BINS = 30  # as many as TensorBoard draws; twice as many nearly double its loading time


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts`` [b] between ascending ``edges`` [b+1], and the sums needed for the mean and the standard deviation.

    NaN and infinite values are excluded; ``number`` is how many values were counted.
    """

    counts: tuple[float, ...]
    edges: tuple[float, ...]
    minimum: float
    maximum: float
    number: int
    total: float
    squares: float

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError(f"{len(self.counts)} counts need {len(self.counts) + 1} edges, got {len(self.edges)}.")

    @classmethod
    def of(cls, values: Tensor | np.ndarray, bins: int = BINS) -> Histogram:
        """Count ``values`` (any shape, real dtype and device) in ``bins`` of equal width.

        If all values are equal: one bin of zero width. If none is finite: no bins.
        """
        import torch

        flat = torch.as_tensor(values).detach().reshape(-1)
        if flat.dtype not in (torch.float32, torch.float64):  # histc supports neither half precision nor integers
            flat = flat.float()
        if not flat.numel():
            return cls((), (0.0,), 0.0, 0.0, 0, 0.0, 0.0)
        sums = torch.stack([x.double() for x in (*flat.aminmax(), flat.sum(dtype=torch.float64))])
        low, high, total = sums.tolist()  # one device synchronization instead of three
        if not math.isfinite(total):
            return cls.of(flat[flat.isfinite()], bins)
        squares = torch.linalg.vector_norm(flat, dtype=torch.float64).item() ** 2
        if low == high or not math.isfinite(high - low):
            return cls((float(flat.numel()),), (low, high), low, high, flat.numel(), total, squares)
        counts = torch.histc(flat, bins, low, high).tolist()
        return cls(tuple(counts), tuple(np.linspace(low, high, bins + 1).tolist()), low, high, flat.numel(), total, squares)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """``pixels`` uint8 [h, w, 3], RGB."""

    pixels: np.ndarray

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ValueError(f"A picture is uint8 [h, w, 3], got {self.pixels.dtype} {list(self.pixels.shape)}.")


@dataclass(frozen=True, slots=True)
class Text:
    """Markdown. Trackers show it to visitors, so it must not contain paths of this machine."""

    markdown: str


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A module and an ``example`` input: a tensor or a tuple of tensors on the module's device."""

    module: nn.Module
    example: Any


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """``vectors`` float [n, d] with one label each and, optionally, an image each: ``sprites`` uint8 [n, s, s, 3]."""

    vectors: np.ndarray
    labels: Sequence[str]
    sprites: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2:
            raise ValueError(f"Vectors are [n, d], got {list(self.vectors.shape)}.")
        if len(self.labels) != len(self.vectors):
            raise ValueError(f"{len(self.vectors)} vectors need as many labels, got {len(self.labels)}.")
        if self.sprites is None:
            return
        shape = list(self.sprites.shape)
        if self.sprites.dtype != np.uint8 or len(shape) != 4 or shape[0] != len(self.vectors) or shape[3] != 3:
            raise ValueError(f"Sprites are uint8 [{len(self.vectors)}, s, s, 3], got {self.sprites.dtype} {shape}.")
        if shape[1] != shape[2]:
            raise ValueError(f"Sprites are square, got {shape[1]} x {shape[2]}.")


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """One class versus the rest: ``labels`` bool [n], ``scores`` float [n] between 0 and 1."""

    labels: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        if self.labels.shape != self.scores.shape or self.labels.ndim != 1:
            raise ValueError(f"Labels and scores are both [n], got {self.labels.shape} and {self.scores.shape}.")
        if len(self.scores) and not (np.min(self.scores) >= 0 and np.max(self.scores) <= 1):
            raise ValueError("Scores are probabilities: between 0 and 1.")


@dataclass(frozen=True, slots=True)
class HyperParameters:
    """A recipe's ``values`` by name. ``results`` (scalars by tag) are known at the end; empty while the run is active."""

    values: Mapping[str, Any]
    results: Mapping[str, float]


KINDS = (Histogram, Picture, Text, Graph, Embeddings, PrecisionRecall, HyperParameters)


def number(tag: str, value: Any) -> float:
    """Convert a number, or an array or tensor of one element, to float. Raises TypeError for anything else."""
    try:
        if isinstance(value, str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        kinds = ", ".join(kind.__name__ for kind in KINDS)
        raise TypeError(f"{tag} was a {type(value).__name__}; allowed: a number, {kinds}.") from None
