"""Matches the constants of a TensorFlow Lite file with its source's, and checks that they are those, rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.convert.emulation.draws import Emulation
from lib.convert.emulation.numbers import HIGHEST, MOVED, SMALLEST_FLOAT16, far_steps, nearest, rounded, shifted, spread
from lib.tflite import file as tflite_file

Key = tuple[int, str]  # graph, tensor's name


@dataclass(slots=True)
class StoredWeight:
    """A float32 constant of the source, and the file's constant of the same name (``made``)."""

    name: str
    values: np.ndarray  # float32, a view into the source's bytes
    made: np.ndarray
    scale: np.ndarray
    zero: np.ndarray
    axis: int | None

    def complaint(self) -> str:
        """Describes how the file's constant differs from the source's, rounded; "" if it agrees."""
        if self.made.dtype.kind == "f":
            half = self.made.dtype == np.float16
            expected = np.clip(self.values, -HIGHEST, HIGHEST) if half else self.values
            step = np.abs(expected.astype(np.float64)) * (2.0**-11 if half else 2.0**-22) + (SMALLEST_FLOAT16 if half else 0)
            bad = ~(np.abs(self.made.astype(np.float64) - expected) <= step * 1.001) & np.isfinite(self.values)
            largest = np.abs(self.made.astype(np.float64) - expected)[bad].max(initial=0.0)
            unit = ""
        else:
            distance = far_steps(self.values, self.made, self.scale, self.zero, self.axis)
            bad, largest, unit = distance > MOVED, distance.max(initial=0.0), " steps"
        if not bad.any():
            return ""
        count = f"{int(bad.sum())} of {bad.size} values, by up to {largest:.3g}{unit}."
        return f"The weight {self.name[:100]!r} is not the source's weight rounded: {count}"

    def rounded(self, rng: np.random.Generator | None) -> np.ndarray:
        """Returns the source's values as the file's dtype represents them, float32; with ``rng`` on a shifted grid."""
        if self.made.dtype.kind == "f":
            if self.made.dtype != np.float16:
                return self.values
            return nearest(self.values) if rng is None else shifted(self.values, rng)
        if self.made.dtype.itemsize > 2:  # a bias, practically as precise as float32
            return self.values
        scale, zero = (spread(v, self.values.ndim, self.axis) for v in (self.scale, self.zero))
        return rounded(self.values, scale, zero, np.iinfo(self.made.dtype), rng).astype(np.float32)


def tensors(model: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    """Returns tensors by (graph, name), without names that occur twice in a graph."""
    by_key: dict[Key, dict[str, Any]] = {}
    duplicates: set[Key] = set()
    for number, graph in enumerate(model["subgraphs"]):
        for tensor in graph["tensors"]:
            key = number, tensor["name"]
            duplicates |= {key} & by_key.keys()
            by_key[key] = tensor
    return {key: tensor for key, tensor in by_key.items() if key not in duplicates and key[1]}


def match_weights(source: dict[str, Any], file: dict[str, Any], found: Emulation) -> list[StoredWeight]:
    """Returns the constants that both files have with equal shapes, and fills the counts and complaints of ``found``."""
    file_tensors = tensors(file)
    out = []
    for key, tensor in tensors(source).items():
        values = tflite_file.stored(source, tensor)
        if values is None or values.dtype != np.float32 or not values.ndim:
            continue
        found.weight_count += 1
        counterpart = file_tensors.get(key)
        stored = None if counterpart is None else tflite_file.stored(file, counterpart)
        if counterpart is None or stored is None or stored.shape != values.shape or stored.dtype.name not in KINDS:
            continue
        scale, zero, axis = _scales(counterpart)
        if stored.dtype.kind == "i" and not scale.size:
            continue
        found.compared += 1
        weight = StoredWeight(key[1], values, stored, scale, zero, axis)
        if complaint := weight.complaint():
            found.weights.append(complaint)
        out.append(weight)
    return out


KINDS = ("float32", "float16", "int8", "int16", "int32", "int64")


def _scales(tensor: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Returns scales, zero points, and the axis that they apply to (None: per tensor)."""
    parameters = tensor["quantization"]
    if not parameters or not len(parameters["scale"]):
        return np.empty(0), np.zeros(1), None
    zero = parameters["zero_point"] if len(parameters["zero_point"]) else np.zeros(1)
    return parameters["scale"], zero, int(parameters["dimension"]) if len(parameters["scale"]) > 1 else None
