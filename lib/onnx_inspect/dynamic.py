"""Choose sizes of dynamic dimensions: plausible ones, or, if the model rejects those, sizes found by search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx import ModelProto

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs import sizes
from lib.model_inputs.signature import Signature
from lib.onnx_inspect import shapes
from lib.onnx_model.signature import signature
from lib.reports.words import listed, note

__all__ = ["as_report", "listed", "note", "plausible", "read", "search"]


def read(model: ModelProto) -> Signature | None:
    """Return the model's signature, or None if an input is not a tensor or the model is damaged."""
    try:
        copy = ModelProto()
        copy.CopyFrom(model)
        del copy.graph.output[:]  # outputs may be sequences or maps
        return signature(copy)
    except MemoryError:
        raise
    except Exception:  # InvalidFile, or any onnx error for a damaged model, which the report describes
        return None


def plausible(model: ModelProto, given: dict[str, int]) -> tuple[dict[str, int], str]:
    """Return a size for every dynamic dimension of the inputs, from ``given`` or a typical one, and a note on them."""
    names = shapes.symbols(model)
    if not names:
        return dict(given), ""
    model_signature = read(model) if names.keys() - given.keys() else None
    proposed = sizes.propose(model_signature) if model_signature is not None else {}
    chosen = {name: given.get(name, max(1, proposed.get(name, 1))) for name in names}
    return given | chosen, note(chosen, given)


def search(
    model: ModelProto, given: dict[str, int], refusal: Callable[[dict[str, int]], str]
) -> tuple[dict[str, int], str] | None:
    """Return sizes for which ``refusal`` returns "", and a note on how they were found; None if there are none."""
    model_signature = read(model)
    if model_signature is None:
        return None
    fixed = {name: size for name, size in given.items() if name in model_signature.symbols()}

    def accepts(some: dict[str, int]) -> str:
        try:
            return refusal(some)
        except (InvalidFile, InvalidValue) as error:  # too large, or a dimension that only the signature has
            return str(error)

    result = sizes.search(model_signature, fixed, accepts)
    return (result.sizes, result.note) if result.accepted else None


def as_report(chosen: dict[str, int], places: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Return the ``symbols`` of a report: size and places of each dimension."""
    return {name: {"value": chosen[name], "at": at} for name, at in places.items()}
