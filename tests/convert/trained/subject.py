"""A trained model with real inputs: what a user has, and what an independent check needs to call a file right.

The check is the task's own: decisions or accuracy on inputs that neither training nor the user's samples have seen,
run by ``runtimes.py``. It shares no code with ``lib/convert``'s proof.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ONNX = ("onnx-slim", "onnx-opset", "onnx-fp16", "onnx-int8-dynamic", "onnx-int8-static")
TFLITE = ("tflite", "tflite-fp16", "tflite-int8")
EVERY = (*ONNX, "openvino", "pt2", *TFLITE)
TREES = (*ONNX, "openvino")  # no TensorFlow Lite, no torch form of a tree ensemble
# decisions that must be the source's own, as a share of all: what a careful user asks of each precision
FLOORS = {"fp32": 0.995, "fp16": 0.99, "int8": 0.90}
Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Lies in ``folder``: the user's ``files`` (main one first) and ``samples.npz``, ``held.npz`` and ``expected.npz``.

    ``held.npz`` has the held-out inputs by the source's names, the first axis is the samples, the rest what the model
    is fed; ``labels`` where truth is known. ``expected.npz`` has what the model's own framework makes of them, output
    by output. ``measure`` names a function of ``tasks.py``.
    """

    name: str
    kind: str
    inputs: str  # where the real inputs come from, for the table
    measure: str
    files: tuple[str, ...]
    targets: tuple[str, ...] = EVERY
    folder: Path

    @property
    def samples(self) -> Path:
        return self.folder / "samples.npz"

    def held(self) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        with np.load(self.folder / "held.npz") as found:
            arrays = dict(found)
        return arrays, arrays.pop("labels", None)

    def expected(self) -> list[np.ndarray]:
        with np.load(self.folder / "expected.npz") as found:
            return [found[str(k)] for k in range(len(found.files))]

    def save(self) -> Subject:
        told = asdict(self) | {"folder": ""}
        (self.folder / "subject.json").write_text(json.dumps(told))
        return self


def load(folder: Path) -> Subject:
    told = json.loads((folder / "subject.json").read_text())
    lists = {k: tuple(v) for k, v in told.items() if isinstance(v, list)}
    return Subject(**told | lists | {"folder": folder})


def write(folder: Path, samples: dict[str, Any], held: dict[str, Any], expected: list[np.ndarray]) -> None:
    """``samples`` as the user gives them; for ``held`` and ``expected`` see Subject. A None (no labels) is left out."""
    np.savez(folder / "samples.npz", **{k: v for k, v in samples.items() if v is not None})
    np.savez(folder / "held.npz", **{k: v for k, v in held.items() if v is not None})
    np.savez(folder / "expected.npz", **{str(k): v for k, v in enumerate(expected)})


def precision(target: str) -> str:
    return next((p for p in ("fp16", "int8") if p in target), "fp32")


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * float(np.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count)))
    return middle - half, middle + half


@dataclass(frozen=True, slots=True)
class Truth:
    """``agreement`` with the source and, where labels are known, accuracy before and after, over ``count`` decisions."""

    agreement: float
    count: int
    before: float | None = None
    after: float | None = None

    def right(self, target: str) -> bool:
        """int8 may also change decisions where its accuracy stays within what chance explains."""
        kind = precision(target)
        if self.agreement >= FLOORS[kind]:
            return True
        if kind != "int8" or self.before is None or self.after is None:
            return False
        return self.after >= interval(self.before, self.count)[0]

    def __str__(self) -> str:
        said = f"{100 * self.agreement:.1f} %"
        if self.before is not None and self.after is not None:
            said += f" (accuracy {100 * self.before:.1f} → {100 * self.after:.1f} %)"
        return said
