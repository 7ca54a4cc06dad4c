"""The table of operators: decorated functions implement ONNX operators in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator's function and the inputs that it receives unconverted."""

    function: Function
    raw: bool | tuple[int, ...]  # positions of inputs passed without conversion to tensors; True for all


TABLE: dict[tuple[str, str], Operator] = {}


def op(*names: str, domain: str = "", raw: bool | tuple[int, ...] = ()) -> Callable[[Function], Function]:
    """Registers ``function(call, *inputs)`` for the operators ``names``; inputs not in ``raw`` arrive as tensors.

    An absent optional input is None. The function returns one value, or a tuple of outputs in the operator's order.
    Raises ValueError for a duplicate.
    """

    def register(function: Function) -> Function:
        for name in names:
            if (domain, name) in TABLE:
                raise ValueError(f"a second {domain}::{name}")
            TABLE[domain, name] = Operator(function, raw)
        return function

    return register
