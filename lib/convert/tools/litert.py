"""A torch module to TensorFlow Lite by LiteRT Torch: every size fixed, names of the source kept."""

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
    """Writes the artifact; the answer is an edge's, with the sizes that were fixed. Raises JobFailed.

    ``given``: sizes of dynamic dimensions that were asked for or found; the others are the smallest plausible ones.
    ``module`` takes the signature's inputs by position and returns a tuple of its outputs.
    """
    import litert_torch
    import torch

    asked = given or {}
    sizes = {s: asked.get(s, BATCH if s == "batch" else n) for s, n in samples.sizes(signature, 0).items()}
    inputs = samples.make(signature, sizes, 0)
    path = target / tflite_file.NAME
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
        try:
            litert_torch.convert(module, inputs).export(str(path))
        except Exception as error:  # torch's, MLIR's and its own
            raise JobFailed(f"LiteRT Torch gave up: {sanitize_message(error)}") from None
    from lib.tflite.signatures import described

    got = described(tflite_file.read(path))
    if (len(got.inputs), len(got.outputs)) != (len(signature.inputs), len(signature.outputs)):
        raise JobFailed("LiteRT Torch dropped inputs or outputs of this model.")
    pairs = [
        dict(zip([v.name for v in ours], [v.name for v in _counted(theirs)], strict=True))
        for ours, theirs in ((signature.inputs, got.inputs), (signature.outputs, got.outputs))
    ]
    told = ", ".join(f"{s} = {n}" for s, n in sizes.items())
    said = [f"Every size is fixed: {told}. Others are taken from the option sizes."] if sizes else []
    return {"messages": said, "fixed": sizes, "inputs": pairs[0], "outputs": pairs[1]}


def _counted(values: Any) -> list[Any]:
    """In the order of the numbers that LiteRT Torch puts into names (args_0, output_1)."""
    return sorted(values, key=lambda v: [int(n) for n in v.name.split("_") if n.isdigit()] or [0])
