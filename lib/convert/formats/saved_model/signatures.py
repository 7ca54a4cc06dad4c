"""Selects and orders the signatures of a loaded SavedModel that can be run."""

from __future__ import annotations

import re
from typing import Any

from lib.errors import InvalidFile

DEFAULT = "serving_default"
NO_NUMBERS = ("string", "resource", "variant")


def signatures_of(loaded: Any) -> dict[str, Any]:
    """Returns the concrete functions with numeric inputs and outputs by key, ``serving_default`` first.

    Of identical signatures (such as Keras' ``serve`` and ``serving_default``) only the first is kept. If none is purely
    numeric, returns all of them. Raises InvalidFile if the model has no signature.
    """
    candidates = dict(loaded.signatures)
    if not candidates:
        raise InvalidFile(f"The SavedModel has no signature, such as {DEFAULT!r}. Export it with one.")
    distinct: dict[str, Any] = {}
    bodies: list[Any] = []
    for key in sorted(candidates, key=lambda k: (k != DEFAULT, natural(k))):
        if (body := _body(candidates[key])) not in bodies:
            distinct[key] = candidates[key]
            bodies.append(body)
    return {k: f for k, f in distinct.items() if _numbers(f)} or distinct


def _body(function: Any) -> tuple[list[bytes], list[int]]:
    """Returns a key for the function's identity: its graph, and the variables and constants it captures."""
    nodes = []
    for node in function.graph.as_graph_def().node:
        node.attr.pop("_user_specified_name", None)  # differs for every capture
        nodes.append(node.SerializeToString(deterministic=True))
    return nodes, [id(c) for c in function.captured_inputs]


def _numbers(function: Any) -> bool:
    """Returns whether all inputs and outputs are numeric."""
    _, input_specs = function.structured_input_signature
    values = (*input_specs.values(), *function.structured_outputs.values())
    return not any(v.dtype.name in NO_NUMBERS for v in values)


def natural(name: str) -> list[Any]:
    """Returns a sort key that puts output_2 before output_10: a SavedModel does not keep an order."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
