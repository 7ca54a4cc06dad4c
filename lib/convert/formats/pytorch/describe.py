"""Finds the dynamic dimensions of a PyTorch model by running it with two sets of sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lib.convert.formats.pytorch import samples
from lib.convert.proof.ranking import ROWS
from lib.model_inputs.signature import Signature, Value


def fix_batch(flat: Any, signature: Signature) -> Signature:
    """Returns ``signature``, with the batch fixed to 1 if the model rejects other batch sizes."""
    import torch

    if "batch" not in signature.symbols():
        return signature
    try:
        with torch.inference_mode():
            flat(*samples.make(signature, samples.sizes(signature, 0), 0))
        return signature
    except Exception:  # a model may raise anything for an unsupported shape
        inputs = tuple(replace(v, shape=tuple(1 if d == "batch" else d for d in v.shape)) for v in signature.inputs)
        return replace(signature, inputs=inputs)


def outputs(flat: Any, signature: Signature) -> tuple[Value, ...]:
    """Returns every output with its dtype and shape.

    A dimension that equals an input's symbol in both runs gets that symbol; any other dimension that changes is named
    after its output and axis. For detection models, axis 0 is the number of detections.
    """
    import torch

    runs = []
    for choice in (0, 1):
        sizes = samples.sizes(signature, choice)
        with torch.inference_mode():
            runs.append((sizes, flat(*samples.make(signature, sizes, choice)), flat.names))
    (small, first, names), (large, second, _) = runs
    described = []
    for name, a, b in zip(names, first, second, strict=True):
        if flat.style == "detection":  # one row per detection
            shape: list[int | str] = [ROWS, *a.shape[1:]]
        else:
            axis_sizes = zip(a.shape, b.shape, strict=True)
            shape = [_dimension(f"{name}_{axis}", m, n, small, large) for axis, (m, n) in enumerate(axis_sizes)]
        described.append(Value(name, str(a.dtype).removeprefix("torch."), tuple(shape)))
    return tuple(described)


def _dimension(own: str, a: int, b: int, small: dict[str, int], large: dict[str, int]) -> int | str:
    if a == b:
        return a
    return next((symbol for symbol in small if (small[symbol], large[symbol]) == (a, b)), own)
