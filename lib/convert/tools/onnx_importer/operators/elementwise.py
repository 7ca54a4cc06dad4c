"""Elementwise operators: arithmetic, comparisons, logic, activations, casts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from lib.convert.core.torch_values import TORCH
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import WIDER, Known, to

Tensor = torch.Tensor
HIGH_BIT = -(1 << 63)


def wide(*values: Tensor) -> tuple[Tensor, ...]:
    """Widens unsigned integers that torch stores but hardly supports in computations; uint64 keeps its bits as int64."""
    return tuple(v.to(WIDER[v.dtype]) if v.dtype in WIDER else v for v in values)


def ordered(*values: Tensor) -> tuple[Tensor, ...]:
    """Like ``wide``, but flips uint64's high bit, so that the int64 results are in the right order."""
    return tuple(w ^ HIGH_BIT if v.dtype == torch.uint64 else w for v, w in zip(values, wide(*values), strict=True))


def aligned(call: Any, a: Tensor, b: Tensor) -> Tensor:
    """Appends the axes to ``b`` that opset 6 and older need for broadcasting along ``axis``."""
    axis = call.attr("axis")
    if call.version >= 7 or not call.attr("broadcast", 0) or axis is None:
        return b
    return b.reshape(*b.shape, *[1] * (a.ndim - (axis % a.ndim) - b.ndim))


def _arithmetic(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @op(name)
    def run(call: Any, a: Tensor, b: Tensor) -> Tensor:
        dtype, b = a.dtype, aligned(call, a, b)
        return to(function(*wide(a, b)), dtype)


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.dtype.is_floating_point or a.dtype.is_complex else torch.div(a, b, rounding_mode="trunc")


_arithmetic("Add", torch.add)
_arithmetic("Sub", torch.sub)
_arithmetic("Mul", torch.mul)
_arithmetic("Div", _quotient)
_arithmetic("BitwiseAnd", torch.bitwise_and)
_arithmetic("BitwiseOr", torch.bitwise_or)
_arithmetic("BitwiseXor", torch.bitwise_xor)


def _comparison(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @op(name)
    def run(call: Any, a: Tensor, b: Tensor) -> Tensor:
        return function(*ordered(a, aligned(call, a, b)))


_comparison("Equal", torch.eq)
_comparison("Less", torch.lt)
_comparison("Greater", torch.gt)
_comparison("LessOrEqual", torch.le)
_comparison("GreaterOrEqual", torch.ge)
_comparison("And", torch.logical_and)
_comparison("Or", torch.logical_or)
_comparison("Xor", torch.logical_xor)


@op("Mod")
def mod(call: Any, a: Tensor, b: Tensor) -> Tensor:
    return to((torch.fmod if call.attr("fmod", 0) else torch.remainder)(*wide(a, b)), a.dtype)


@op("Pow")
def power(call: Any, a: Tensor, b: Tensor) -> Tensor:
    dtype, b = a.dtype, aligned(call, a, b)
    if not dtype.is_floating_point and b.dtype.is_floating_point:
        a = a.to(torch.float64)
    return to(torch.pow(*wide(a, b)), dtype)


@op("BitShift")
def bit_shift(call: Any, a: Tensor, b: Tensor) -> Tensor:
    bits, direction = a.dtype.itemsize * 8, call.attr("direction")
    x, y = (v.to(torch.int64) for v in (a, b))
    if direction == "LEFT":
        out = x << y.clamp(max=63)
    else:
        y = y.clamp(max=63)
        mask = torch.where(y > 0, (1 << (64 - y.clamp(min=1))) - 1, -1)
        out = (x >> y) & mask if bits == 64 else x >> y
    filled = (x >> 63) if direction == "RIGHT" and a.dtype.is_signed else torch.zeros_like(out)
    return torch.where(y < bits, out, filled).to(a.dtype)


@op("BitwiseNot")
def bitwise_not(call: Any, a: Tensor) -> Tensor:
    return torch.bitwise_not(*wide(a)).to(a.dtype)


@op("Not")
def logical_not(call: Any, a: Tensor) -> Tensor:
    return torch.logical_not(a)


@op("Max", "Min")
def extreme(call: Any, *values: Tensor) -> Tensor:
    pick = torch.maximum if call.node.op == "Max" else torch.minimum
    if values[0].dtype == torch.uint64:
        keys = ordered(*values)
        out = keys[0]
        for v in keys[1:]:
            out = pick(out, v)
        return (out ^ HIGH_BIT).to(torch.uint64)
    out = wide(values[0])[0]
    for v in wide(*values[1:]):
        out = pick(out, v)
    return to(out, values[0].dtype)


@op("Sum", "Mean")
def total(call: Any, *values: Tensor) -> Tensor:
    out = values[0]
    for v in values[1:]:
        out = out + v
    return out / len(values) if call.node.op == "Mean" else out


@op("Clip")
def clip(call: Any, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if low is None and call.attr("min") is not None:
        low = torch.full((), call.attr("min"), dtype=x.dtype)
    if high is None and call.attr("max") is not None:
        high = torch.full((), call.attr("max"), dtype=x.dtype)
    if x.dtype in WIDER:
        key = ordered(x)[0]
        key = key if low is None else torch.maximum(key, ordered(low.reshape(()))[0])
        key = key if high is None else torch.minimum(key, ordered(high.reshape(()))[0])
        return (key ^ HIGH_BIT if x.dtype == torch.uint64 else key).to(x.dtype)
    x = x if low is None else torch.maximum(x, low.reshape(()))
    return x if high is None else torch.minimum(x, high.reshape(()))


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh, "Atan": torch.atan,
    "Atanh": torch.atanh, "Ceil": torch.ceil, "Cos": torch.cos, "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp,
    "Floor": torch.floor, "Log": torch.log, "Reciprocal": torch.reciprocal, "Round": torch.round,
    "Sigmoid": torch.sigmoid, "Sin": torch.sin, "Sinh": torch.sinh, "Sqrt": torch.sqrt, "Tan": torch.tan,
    "Tanh": torch.tanh, "IsNaN": torch.isnan, "Softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "Softsign": F.softsign, "HardSwish": F.hardswish, "Mish": lambda x: x * torch.tanh(F.softplus(x, threshold=1e4)),
    "Identity": lambda x: x,
}  # fmt: skip


def _unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @op(name)
    def run(call: Any, x: Tensor) -> Tensor:
        return function(x) if isinstance(x, torch.Tensor) else x


for _name, _function in UNARY.items():
    _unary(_name, _function)


@op("Abs")
def absolute(call: Any, x: Tensor) -> Tensor:
    return x if x.dtype in WIDER else torch.abs(x)


@op("Neg")
def negative(call: Any, x: Tensor) -> Tensor:
    return torch.neg(x)


@op("Sign")
def sign(call: Any, x: Tensor) -> Tensor:
    if x.dtype in WIDER:
        return (wide(x)[0] != 0).to(x.dtype)
    return torch.where(x != x, x, torch.sign(x)) if x.dtype.is_floating_point else torch.sign(x)


@op("Relu")
def relu(call: Any, x: Tensor) -> Tensor:
    return F.relu(x)


@op("IsInf")
def is_inf(call: Any, x: Tensor) -> Tensor:
    out = torch.zeros_like(x, dtype=torch.bool)
    if call.attr("detect_positive", 1):
        out = out | (x == math.inf)
    return out | (x == -math.inf) if call.attr("detect_negative", 1) else out


@op("LeakyRelu")
def leaky_relu(call: Any, x: Tensor) -> Tensor:
    return F.leaky_relu(x, call.attr("alpha", 0.01))


@op("PRelu")
def prelu(call: Any, x: Tensor, slope: Tensor) -> Tensor:
    if call.version < 7 and slope.ndim == 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return torch.where(x < 0, slope * x, x)


@op("Elu")
def elu(call: Any, x: Tensor) -> Tensor:
    return F.elu(x, call.attr("alpha", 1.0))


@op("Celu")
def celu(call: Any, x: Tensor) -> Tensor:
    return F.celu(x, call.attr("alpha", 1.0))


@op("Selu")
def selu(call: Any, x: Tensor) -> Tensor:
    alpha, gamma = call.attr("alpha", 1.67326319217681884765625), call.attr("gamma", 1.05070102214813232421875)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


@op("Gelu")
def gelu(call: Any, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=call.attr("approximate", "none"))


@op("Swish")
def swish(call: Any, x: Tensor) -> Tensor:
    return x * torch.sigmoid(call.attr("alpha", 1.0) * x)


@op("HardSigmoid")
def hard_sigmoid(call: Any, x: Tensor) -> Tensor:
    return torch.clamp(call.attr("alpha", 0.2) * x + call.attr("beta", 0.5), 0, 1)


@op("ThresholdedRelu")
def thresholded_relu(call: Any, x: Tensor) -> Tensor:
    return torch.where(x > call.attr("alpha", 1.0), x, torch.zeros_like(x))


@op("Shrink")
def shrink(call: Any, x: Tensor) -> Tensor:
    bias, bound = call.attr("bias", 0.0), call.attr("lambd", 0.5)
    return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x))).to(x.dtype)


@op("Where")
def where(call: Any, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return to(torch.where(condition, *wide(a, b)), a.dtype)


ELEMENT_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
}  # fmt: skip


def element_type(call: Any, number: int) -> torch.dtype:
    """Returns the torch dtype of an ONNX element type. Raises Unsupported."""
    if number not in ELEMENT_TYPES:
        raise call.fail(f"element type {number}")
    return TORCH[ELEMENT_TYPES[number]]


def cast_to(call: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
    if "float8" in str(dtype):
        raise call.fail("a cast to float8")
    if x.dtype.is_floating_point and dtype in (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.uint32):
        return x.to(torch.int64).to(dtype)  # wraps like ONNX's backends; a direct cast out of range is undefined in C
    return to(x, dtype)


@op("Cast")
def cast(call: Any, x: Tensor) -> Tensor:
    to = call.attr("to")
    if isinstance(to, str):  # until opset 5
        to = {"FLOAT": 1, "DOUBLE": 11, "FLOAT16": 10, "INT64": 7, "INT32": 6, "BOOL": 9, "UINT8": 2, "INT8": 3}.get(to, 0)
    return cast_to(call, x, element_type(call, to))


@op("CastLike", raw=(1,))
def cast_like(call: Any, x: Tensor, like: Tensor | Known) -> Tensor:
    return cast_to(call, x, like.dtype)


@op("BitCast")
def bit_cast(call: Any, x: Tensor) -> Tensor:
    return x.view(element_type(call, call.attr("to")))
