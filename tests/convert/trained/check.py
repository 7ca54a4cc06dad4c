"""The truth about a converted file: run elsewhere, on inputs that nobody has seen, by what its task asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.convert.formats import find
from tests.convert.trained import runtimes
from tests.convert.trained.subject import Subject, Truth
from tests.convert.trained.tasks import MEASURES


def independent(subject: Subject, file: Path, format: str) -> Truth:
    """Raises whatever the runtime raises for a file that it cannot run."""
    held, labels = subject.held()
    return measured(subject, runtimes.outputs(find(format).on_disk, file, held), labels)


def source(subject: Subject) -> Truth:
    """The source itself in the check's own runtime: else a wrong check could call every file wrong."""
    format = {".onnx": "onnx", ".tflite": "tflite"}[Path(subject.files[0]).suffix]
    return independent(subject, subject.folder / subject.files[0], format)


def measured(subject: Subject, made: list[np.ndarray], labels: np.ndarray | None) -> Truth:
    expected = subject.expected()
    return MEASURES[subject.measure](_aligned(made, expected), expected, labels)


def _aligned(made: list[np.ndarray], expected: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs in the source's order and layout: a tool may sort them, and put channels last."""
    left, out = list(made), []
    for k, wanted in enumerate(expected):
        same = [v for v in left if _kind(v) == _kind(wanted) and sorted(v.shape[1:]) == sorted(wanted.shape[1:])]
        same = same or [v for v in left if v[0].size == wanted[0].size]
        assert same, f"output {k}: no array of {list(wanted.shape)} among {[list(v.shape) for v in made]}"
        left = [v for v in left if v is not same[0]]
        out.append(_laid(same[0], wanted.shape))
    return out


def _kind(array: np.ndarray) -> str:
    return "i" if array.dtype.kind in "iub" else array.dtype.kind


def _laid(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.ndim == 5 and array.shape != shape:
        for axes in ((0, 1, 4, 2, 3), (0, 1, 3, 4, 2)):
            if array.transpose(axes).shape == shape:
                return array.transpose(axes)
    return array
