"""Arithmetic on values known to Python, such as shapes. Sizes of dynamic dimensions stay symbolic.

A graph takes a shape apart, computes with its sizes and assembles a new one. Doing that with tensors would hide from
``torch.export`` how the new shape depends on the old one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lib.convert.core.torch_values import TORCH, numpy_dtype
from lib.convert.tools.onnx_importer.values import MAX_ELEMENTS, Known, Value

TENSOR_TYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
                10: "float16", 11: "double", 12: "uint32", 13: "uint64"}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Known | tuple[Known, ...] | None]] = {}


def on_known(call: Any, given: list[Value]) -> Known | tuple[Known, ...] | None:
    """Computes an operator on known values; None if torch must, as it has no function here or an input is a tensor."""
    function = FUNCTIONS.get(call.node.op) if not call.node.domain else None
    if function is None or not given or not all(v is None or isinstance(v, Known) for v in given) or call.version < 7:
        return None
    out = function(call, *given)
    if isinstance(out, Known) and out.array.size > MAX_ELEMENTS:
        return None
    return out


def known_op(*names: str) -> Callable[[Any], Any]:
    """Registers ``function(call, *known values)`` for the operators ``names``; it may return None to leave them to torch."""

    def register(function: Any) -> Any:
        for name in names:
            FUNCTIONS[name] = function
        return function

    return register


def known_values(array: Any, dtype: torch.dtype) -> Known:
    """Returns a ``Known``, converted to the dtype's numbers if the array has no symbols."""
    array = np.asarray(array)
    if (array.dtype == object and not any(symbol(v) for v in array.reshape(-1))) or array.dtype != object:
        array = array.astype(numpy_dtype(dtype))
    return Known(array, dtype)


def symbol(value: Any) -> bool:
    """Whether the value is one of torch's symbolic numbers."""
    return isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool)


def each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """Applies ``function`` elementwise, with broadcasting, to arrays of Python objects."""
    return np.asarray(np.frompyfunc(function, len(arrays), 1)(*(a.astype(object) for a in arrays)), object)


def quotient(a: Any, b: Any) -> Any:
    """Divides; integers truncate towards zero, as in ONNX."""
    if isinstance(a, float | torch.SymFloat) or isinstance(b, float | torch.SymFloat):
        return a / b
    return a // b if (a >= 0) == (b > 0) else -(-a // b)


def _binary(name: str, on_symbols: Callable[..., Any], on_numbers: Callable[..., Any], dtype: Any = None) -> None:
    def function(call: Any, a: Known, b: Known) -> Known | None:
        if a.dtype != b.dtype:
            return None
        if a.symbolic or b.symbolic:
            return known_values(each(on_symbols, a.array, b.array), dtype or a.dtype)
        if a.dtype == torch.bfloat16:
            return None
        with np.errstate(all="ignore"):
            return known_values(on_numbers(a.array, b.array), dtype or a.dtype)

    FUNCTIONS[name] = function


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return a / b
    if not b.all():
        raise ZeroDivisionError("a constant is divided by zero")
    return (np.abs(a) // np.abs(b)) * np.sign(a) * np.sign(b) if a.dtype.kind == "i" else a // b


_binary("Add", lambda a, b: a + b, np.add)
_binary("Sub", lambda a, b: a - b, np.subtract)
_binary("Mul", lambda a, b: a * b, np.multiply)
_binary("Div", quotient, _divided)
_binary("Equal", lambda a, b: a == b, np.equal, torch.bool)
_binary("Less", lambda a, b: a < b, np.less, torch.bool)
_binary("Greater", lambda a, b: a > b, np.greater, torch.bool)
_binary("LessOrEqual", lambda a, b: a <= b, np.less_equal, torch.bool)
_binary("GreaterOrEqual", lambda a, b: a >= b, np.greater_equal, torch.bool)
_binary("And", lambda a, b: bool(a) and bool(b), np.logical_and)
_binary("Or", lambda a, b: bool(a) or bool(b), np.logical_or)


@known_op("Max", "Min")
def _extreme(call: Any, *values: Known) -> Known | None:
    pick = torch.sym_max if call.node.op == "Max" else torch.sym_min
    numbers = np.maximum if call.node.op == "Max" else np.minimum
    out = values[0]
    for v in values[1:]:
        if out.symbolic or v.symbolic:
            out = known_values(each(pick, out.array, v.array), out.dtype)
        elif v.dtype == torch.bfloat16:
            return None
        else:
            out = known_values(numbers(out.array, v.array), out.dtype)
    return out


@known_op("Mod")
def _mod(call: Any, a: Known, b: Known) -> Known | None:
    if not (a.symbolic or b.symbolic) or call.attr("fmod", 0):
        return None
    return known_values(each(lambda x, y: x % y, a.array, b.array), a.dtype)


@known_op("Not")
def _not(call: Any, a: Known) -> Known:
    return known_values(each(lambda v: not v, a.array), a.dtype)


@known_op("Neg")
def _neg(call: Any, a: Known) -> Known | None:
    return known_values(each(lambda v: -v, a.array), a.dtype) if a.symbolic else None


@known_op("Floor", "Ceil", "Sqrt", "Abs")
def _unary(call: Any, a: Known) -> Known | None:
    if not a.symbolic:
        return None
    function = {"Floor": math.floor, "Ceil": math.ceil, "Sqrt": torch.sym_sqrt, "Abs": abs}[call.node.op]
    return known_values(
        each(lambda v: torch.sym_float(function(v)) if a.dtype.is_floating_point else function(v), a.array), a.dtype
    )


@known_op("Identity")
def _identity(call: Any, a: Known) -> Known:
    return a


@known_op("Where")
def _where(call: Any, condition: Known, a: Known, b: Known) -> Known | None:
    if not (condition.symbolic or a.symbolic or b.symbolic):
        return None
    return known_values(each(lambda c, x, y: x if bool(c) else y, condition.array, a.array, b.array), a.dtype)


@known_op("Cast")
def _cast(call: Any, a: Known) -> Known | None:
    to = TENSOR_TYPES.get(call.attr("to"))
    if not a.symbolic or to not in ("int64", "int32", "float32", "double", "float16"):
        return None
    dtype = TORCH["float64" if to == "double" else to]
    return known_values(each(torch.sym_float if dtype.is_floating_point else torch.sym_int, a.array), dtype)


@known_op("Concat")
def _concat(call: Any, *values: Known) -> Known | None:
    if call.attr("axis") is None:
        return None
    return known_values(np.concatenate([v.array.astype(object) for v in values], call.attr("axis")), values[0].dtype)


@known_op("Gather")
def _gather(call: Any, a: Known, indices: Known) -> Known | None:
    if indices.symbolic:
        return None
    return known_values(np.take(a.array, indices.array.astype(np.int64), call.attr("axis", 0)), a.dtype)


@known_op("Slice")
def _slice(call: Any, a: Known, starts: Known | None = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    if starts is None or any(v is not None and v.symbolic for v in (starts, ends, axes, steps)):
        return None
    count = starts.array.size
    axes = list(range(count)) if axes is None else axes.array.tolist()
    steps = [1] * count if steps is None else steps.array.tolist()
    index = [slice(None)] * a.array.ndim
    for axis, start, end, step in zip(axes, starts.array.tolist(), ends.array.tolist(), steps, strict=True):
        if step < 0 and end < -a.array.shape[axis]:
            end = None  # Python would wrap the negative index again
        index[axis] = slice(start, end, step)
    return known_values(a.array[tuple(index)], a.dtype)


@known_op("Unsqueeze")
def _unsqueeze(call: Any, a: Known, axes: Known | None = None) -> Known:
    chosen_axes = call.either("axes", axes)
    return known_values(np.expand_dims(a.array, tuple(chosen_axes)), a.dtype)


@known_op("Squeeze")
def _squeeze(call: Any, a: Known, axes: Known | None = None) -> Known:
    chosen_axes = call.either("axes", axes)
    return known_values(np.squeeze(a.array, None if chosen_axes is None else tuple(chosen_axes)), a.dtype)


@known_op("Reshape", "Flatten")
def _reshape(call: Any, a: Known, shape: Known | None = None) -> Known | None:
    if call.node.op == "Flatten" or shape is None or shape.symbolic or 0 in shape.array:
        return None
    return known_values(a.array.reshape(shape.array.tolist()), a.dtype)


@known_op("Expand")
def _expand(call: Any, a: Known, shape: Known) -> Known | None:
    if shape.symbolic or math.prod(shape.array.tolist()) > MAX_ELEMENTS:
        return None
    return known_values(np.broadcast_to(a.array, np.broadcast_shapes(a.array.shape, tuple(shape.array.tolist()))), a.dtype)


@known_op("ConstantOfShape")
def _constant_of_shape(call: Any, shape: Known) -> Known | None:
    if shape.symbolic or math.prod(shape.array.tolist()) > MAX_ELEMENTS or any(d < 0 for d in shape.array.tolist()):
        return None
    value = call.attr("value")
    if value is None:
        return Known(np.zeros(shape.array.tolist(), np.float32), torch.float32)
    if not isinstance(value, Known):
        return None
    return Known(np.full(shape.array.tolist(), value.array.reshape(-1)[0]).astype(value.array.dtype), value.dtype)


@known_op("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin")
def _reduce(call: Any, a: Known, axes: Known | None = None) -> Known | None:
    chosen_axes = call.either("axes", axes)
    if not a.symbolic or a.array.ndim != 1 or (not chosen_axes and call.attr("noop_with_empty_axes", 0)):
        return None
    fold = {"ReduceProd": lambda x, y: x * y, "ReduceSum": lambda x, y: x + y,
            "ReduceMax": torch.sym_max, "ReduceMin": torch.sym_min}[call.node.op]  # fmt: skip
    out = a.array[0]
    for value in a.array[1:]:
        out = fold(out, value)
    return known_values(np.array([out] if call.attr("keepdims", 1) else out, object), a.dtype)


@known_op("Split")
def _split(call: Any, a: Known, sizes: Known | None = None) -> tuple[Known, ...] | None:
    part_sizes = call.either("split", sizes)
    if not a.symbolic or a.array.ndim != 1 or part_sizes is None:
        return None
    return tuple(known_values(part, a.dtype) for part in np.split(a.array, np.cumsum(part_sizes)[:-1]))
