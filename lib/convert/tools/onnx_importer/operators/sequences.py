"""Sequences and optionals. Sequences are Python lists, an empty optional is ``EMPTY``; exported programs have neither."""

from __future__ import annotations

from typing import Any

import torch

from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Known, Value, as_tensor, known

Tensor = torch.Tensor
EMPTY = ("empty optional",)


@op("SequenceEmpty")
def sequence_empty(call: Any) -> list[Value]:
    return []


@op("SequenceConstruct")
def sequence_construct(call: Any, *values: Value) -> list[Value]:
    return list(values)


@op("SequenceInsert", raw=(2,))
def sequence_insert(call: Any, some: list[Value], value: Value, at: Value = None) -> list[Value]:
    out = list(some)
    out.insert(len(out) if at is None else int(call.number(at)), value)
    return out


@op("SequenceErase", raw=(1,))
def sequence_erase(call: Any, some: list[Value], at: Value = None) -> list[Value]:
    out = list(some)
    out.pop(-1 if at is None else int(call.number(at)))
    return out


@op("SequenceAt", raw=(1,))
def sequence_at(call: Any, some: list[Value], at: Value) -> Value:
    return some[int(call.number(at))]


@op("SequenceLength")
def sequence_length(call: Any, some: list[Value]) -> Known:
    return known(len(some))


@op("ConcatFromSequence")
def concat_from_sequence(call: Any, some: list[Value]) -> Tensor:
    values, axis = [as_tensor(v) for v in some], call.attr("axis")
    return torch.stack(values, axis) if call.attr("new_axis", 0) else torch.cat(values, axis)


@op("SplitToSequence", raw=(1,))
def split_to_sequence(call: Any, x: Tensor, split: Value = None) -> list[Tensor]:
    axis = call.attr("axis", 0)
    if split is None:
        parts = torch.split(x, 1, axis)
        return list(parts) if call.attr("keepdims", 1) else [p.squeeze(axis) for p in parts]
    sizes = call.numbers(split)
    return list(torch.split(x, int(sizes) if sizes.ndim == 0 else [int(s) for s in sizes], axis))


@op("SequenceMap")
def sequence_map(call: Any, some: list[Value], *more: Value) -> tuple[list[Value], ...]:
    body, rows = call.attr("body"), []
    for k, value in enumerate(some):
        args = [value, *(m[k] if isinstance(m, list) else m for m in more)]
        rows.append(call.module.run(body, dict(call.scope) | dict(zip(body.inputs, args, strict=True))))
    return tuple(list(column) for column in zip(*rows, strict=True))


@op("Optional")
def optional(call: Any, value: Value = None) -> Value:
    return EMPTY if value is None else value


@op("OptionalHasElement")
def optional_has_element(call: Any, value: Value = None) -> Known:
    return known(value is not None and value is not EMPTY, torch.bool)


@op("OptionalGetElement")
def optional_get_element(call: Any, value: Value) -> Value:
    if value is EMPTY:
        raise call.fail("of an empty optional")
    return value
