"""Gives an older TensorFlow Lite file the operator codes that newer tools read.

Before 2020 a code stood in one byte only. AI Edge Quantizer looks at the newer field alone, takes every operator of
such a file for an addition, and changes nothing. Needs ai_edge_litert.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert import tflite_file


def outdated(model: dict[str, Any]) -> bool:
    """Whether an operator's code stands in the older field alone."""
    return any(c["code"] == 0 and 0 < c["old_code"] < tflite_file.OLD_CODES for c in model["operator_codes"])


def renewed(source: Path, target: Path) -> None:
    """Writes the verified file ``source`` again with both fields."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    target.write_bytes(builder.Output())
    tflite_file.read(target)
