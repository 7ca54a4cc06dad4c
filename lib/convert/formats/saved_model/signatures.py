"""Which signatures of a loaded SavedModel can be run, and in which order. Only where TensorFlow is."""

from __future__ import annotations

import re
from typing import Any

from lib.errors import InvalidFile

DEFAULT = "serving_default"
NO_NUMBERS = ("string", "resource", "variant")


def signatures_of(loaded: Any) -> dict[str, Any]:
    """The concrete functions that can be run, by key, ``serving_default`` first: those that take and give numbers.

    Of several that compute the same on the same (``serve`` and ``serving_default`` of Keras), only the first counts.
    Where none takes and gives numbers, all are given. Raises InvalidFile where there is none.
    """
    found = dict(loaded.signatures)
    if not found:
        raise InvalidFile(f"The SavedModel has no signature, such as {DEFAULT!r}. Export it with one.")
    known: dict[str, Any] = {}
    bodies: list[Any] = []
    for key in sorted(found, key=lambda k: (k != DEFAULT, natural(k))):
        if (body := _body(found[key])) not in bodies:
            known[key] = found[key]
            bodies.append(body)
    return {k: f for k, f in known.items() if _numbers(f)} or known


def _body(function: Any) -> tuple[list[bytes], list[int]]:
    """What tells one signature from another: its graph, and the variables and constants that it reads."""
    nodes = []
    for node in function.graph.as_graph_def().node:
        node.attr.pop("_user_specified_name", None)  # of what is captured: a number that is never twice the same
        nodes.append(node.SerializeToString(deterministic=True))
    return nodes, [id(c) for c in function.captured_inputs]


def _numbers(function: Any) -> bool:
    _, given = function.structured_input_signature
    values = (*given.values(), *function.structured_outputs.values())
    return not any(v.dtype.name in NO_NUMBERS for v in values)


def natural(name: str) -> list[Any]:
    """A key that sorts output_2 before output_10: a SavedModel keeps no order of its own."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
