"""Sizes of dynamic dimensions: plausible ones, or, if the model refuses those, others found by trying."""

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
    """What the model takes; None where an input is no tensor, or the model is damaged."""
    try:
        copy = ModelProto()
        copy.CopyFrom(model)
        del copy.graph.output[:]  # a sequence or a map is no fault here
        return signature(copy)
    except MemoryError:
        raise
    except Exception:  # InvalidFile, and whatever onnx raises for a damaged model: the report says what is wrong with it
        return None


def plausible(model: ModelProto, given: dict[str, int]) -> tuple[dict[str, int], str]:
    """A size for every dynamic dimension of the inputs, as ``given`` or as such models are used; and a sentence on them."""
    names = shapes.symbols(model)
    if not names:
        return dict(given), ""
    found = read(model) if names.keys() - given.keys() else None
    proposed = sizes.propose(found) if found is not None else {}
    chosen = {name: given.get(name, max(1, proposed.get(name, 1))) for name in names}
    return given | chosen, note(chosen, given)


def search(
    model: ModelProto, given: dict[str, int], refusal: Callable[[dict[str, int]], str]
) -> tuple[dict[str, int], str] | None:
    """Sizes for which ``refusal`` returns "", and a note on how they were found; None if there are none."""
    found = read(model)
    if found is None:
        return None
    known = {name: size for name, size in given.items() if name in found.symbols()}

    def accepts(some: dict[str, int]) -> str:
        try:
            return refusal(some)
        except (InvalidFile, InvalidValue) as error:  # too large, or a dimension that only the signature knows
            return str(error)

    answer = sizes.search(found, known, accepts)
    return (answer.sizes, answer.note) if answer.accepted else None


def as_report(chosen: dict[str, int], places: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """``symbols`` of a report: each dimension's size and where it stands."""
    return {name: {"value": chosen[name], "at": at} for name, at in places.items()}
