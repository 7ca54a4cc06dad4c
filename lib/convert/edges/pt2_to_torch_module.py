"""Writes an exported program as readable, self-contained Python code, with its weights in safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge
from lib.errors import JobFailed


@edge(
    "pt2",
    "torch-module",
    tool="own code generator",
    precision="fp32",
    seconds=3,
    error=0.0,
    needs=("torch", "safetensors"),
    note="One Python file with the model's operators in order, and its weights beside it.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises JobFailed for a program that cannot be written as plain calls: control flow, custom operators."""
    from safetensors.torch import save_file

    from lib.convert.formats.pt2 import files as pt2_files
    from lib.convert.formats.torch_module.source_code import Source

    progress("Reading the program", 0.1)
    program, signature = pt2_files.load(source)
    progress("Writing Python", 0.4)
    inputs_text, outputs_text = (
        "; ".join(f"{v.name} {v.dtype} [{', '.join(map(str, v.shape))}]" for v in values)
        for values in (signature.inputs, signature.outputs)
    )
    code = Source(
        program,
        [v.name for v in signature.inputs],
        inputs_text,
        outputs_text,
        "A PyTorch module, written from an exported program.",
    )
    try:
        save_file(code.weights, target / "model.safetensors")
    except (ValueError, KeyError, RuntimeError) as error:
        raise JobFailed(f"safetensors cannot hold these weights: {str(error)[:200]}") from None
    (target / "model.py").write_text(code.text, encoding="utf-8")
    (target / "signature.json").write_text(json.dumps(signature.as_dict()), encoding="utf-8")
    lines, weights = code.text.count("\n"), len(code.weights)
    return {"messages": [f"model.py has {lines} lines; model.safetensors holds {weights} tensors."]}
