"""Converts a torch module to TensorFlow Lite with LiteRT Torch: fixes every size and maps the source's names."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.pytorch import samples
from lib.errors import JobFailed
from lib.model_inputs.signature import Signature
from lib.tflite import file as tflite_file

BATCH = 1


def write(module: Any, signature: Signature, target: Path, given: dict[str, int] | None = None) -> dict[str, Any]:
    """Writes the artifact and returns an edge's answer with the fixed sizes. Raises JobFailed if LiteRT Torch fails.

    ``module`` takes the signature's inputs by position and returns a tuple of its outputs. ``given``: sizes of dynamic
    dimensions; the others get the smallest plausible ones, the batch 1.
    """
    import litert_torch
    import torch

    requested = given or {}
    sizes = {s: requested.get(s, BATCH if s == "batch" else n) for s, n in samples.sizes(signature, 0).items()}
    inputs = samples.make(signature, sizes, 0)
    path = target / tflite_file.NAME
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
        try:
            litert_torch.convert(module, inputs).export(str(path))
        except Exception as error:  # torch's, MLIR's and LiteRT Torch's own
            raise JobFailed(f"LiteRT Torch gave up: {sanitize_message(error)}") from None
    from lib.tflite.signatures import described

    file_signature = described(tflite_file.read(path))
    if (len(file_signature.inputs), len(file_signature.outputs)) != (len(signature.inputs), len(signature.outputs)):
        raise JobFailed("LiteRT Torch dropped inputs or outputs of this model.")
    pairs = [
        dict(zip([v.name for v in ours], [v.name for v in _counted(theirs)], strict=True))
        for ours, theirs in ((signature.inputs, file_signature.inputs), (signature.outputs, file_signature.outputs))
    ]
    sizes_text = ", ".join(f"{s} = {n}" for s, n in sizes.items())
    messages = [f"Every size is fixed: {sizes_text}. Set others with the option sizes."] if sizes else []
    return {"messages": messages, "fixed": sizes, "inputs": pairs[0], "outputs": pairs[1]}


def _counted(values: Any) -> list[Any]:
    """Sorts by the numbers that LiteRT Torch puts into names (args_0, output_1)."""
    return sorted(values, key=lambda v: [int(n) for n in v.name.split("_") if n.isdigit()] or [0])
