"""Gives the operators of a TensorFlow Lite file their code in both fields that the format has for it.

Before 2020 a code stood in one byte only; AI Edge Quantizer reads the newer field alone, takes every operator of such
a file for an addition, and changes nothing. What it writes itself has the newer field alone, which tf2onnx does not
read. The runtime takes the larger of both. Needs ai_edge_litert.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.tflite import file as tflite_file
from lib.tflite import repack


def is_outdated(model: dict[str, Any]) -> bool:
    """Whether an operator's code stands in one field alone."""
    codes = ((c["old_code"], c["code"]) for c in model["operator_codes"])
    return any(old != min(max(old, new), tflite_file.OLD_CODES) or new != max(old, new) for old, new in codes)


def number(graph: int, tensor: int) -> str:
    return f"graph{graph}_tensor{tensor}"


def upgrade_operator_codes(source: Path, target: Path, *, numbered: bool = False) -> None:
    """Writes the verified file ``source`` again with both fields.

    ``numbered``: every tensor is called as ``number`` has it, for tools that make names of names and meet what is there.
    """
    model = repack.unpack(source)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
        code.deprecatedBuiltinCode = min(code.builtinCode, tflite_file.OLD_CODES)
    for k, graph in enumerate(model.subgraphs if numbered else ()):
        for n, tensor in enumerate(graph.tensors or ()):
            tensor.name = number(k, n).encode()
    repack.save(model, target)
