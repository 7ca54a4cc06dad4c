"""Writes the operator codes of a TensorFlow Lite file to both fields of the format.

Until 2020 a code was stored in one byte. AI Edge Quantizer only reads the newer field, takes every operator of such a
file for an addition, and changes nothing. The files it writes only have the newer field, which tf2onnx does not read.
The runtime uses the larger of both. Needs ai_edge_litert.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.tflite import file as tflite_file
from lib.tflite import repack


def is_outdated(model: dict[str, Any]) -> bool:
    """Whether an operator code is missing from one of the fields."""
    codes = ((c["old_code"], c["code"]) for c in model["operator_codes"])
    return any(old != min(max(old, new), tflite_file.OLD_CODES) or new != max(old, new) for old, new in codes)


def number(graph: int, tensor: int) -> str:
    """Returns the name of a tensor in a file with ``numbered`` tensors."""
    return f"graph{graph}_tensor{tensor}"


def upgrade_operator_codes(source: Path, target: Path, *, numbered: bool = False) -> None:
    """Rewrites the verified file ``source`` with both fields.

    ``numbered``: renames every tensor to ``number(graph, tensor)``, for tools that derive new names from existing ones
    and could create duplicates.
    """
    model = repack.unpack(source)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
        code.deprecatedBuiltinCode = min(code.builtinCode, tflite_file.OLD_CODES)
    for k, graph in enumerate(model.subgraphs if numbered else ()):
        for n, tensor in enumerate(graph.tensors or ()):
            tensor.name = number(k, n).encode()
    repack.save(model, target)
