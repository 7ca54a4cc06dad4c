"""What the numbers of the format are called: operators and types of tensors. Child processes only: the table is large."""

from __future__ import annotations

from functools import cache
from typing import Any

from lib.tflite import file as tflite_file

CUSTOM = 32  # BuiltinOperator
# bits of an element, by what ``dtype`` calls it; others have none that are known
BITS = {
    **dict.fromkeys(("uint8", "int8", "bool", "float8_e4m3fn", "float8_e5m2"), 8),
    **dict.fromkeys(("float16", "int16", "uint16", "bfloat16"), 16),
    **dict.fromkeys(("float32", "int32", "uint32"), 32),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 64),
    **{"complex128": 128, "int4": 4, "uint4": 4, "int2": 2},
}


@cache
def _table(kind: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {v: k for k, v in vars(getattr(schema, kind)).items() if not k.startswith("_") and isinstance(v, int)}


def dtype(number: int) -> str:
    """``float32``, ``int4``, ``string``, ``resource`` …; a type that is newer than this runtime by its number."""
    name = _table("TensorType").get(number)
    return name.lower() if name else f"unknown type {number}"


def operator(model: dict[str, Any], one: dict[str, Any]) -> str:
    """``CONV_2D``; of a custom operator the name that its author gave it."""
    code = tflite_file.code(model, one)
    if code == CUSTOM:
        return model["operator_codes"][one["opcode"]]["custom_code"][:200] or "CUSTOM"
    return _table("BuiltinOperator").get(code, f"unknown operator {code}")


def is_custom(model: dict[str, Any], one: dict[str, Any]) -> bool:
    return tflite_file.code(model, one) == CUSTOM
