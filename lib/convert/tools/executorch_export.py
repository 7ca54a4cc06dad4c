"""An exported PyTorch program to ExecuTorch: bounds for its dynamic dimensions, lowered to XNNPACK, names inside."""

from __future__ import annotations

import contextlib
import importlib.resources
import io
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.executorch.check import NAME, read_program
from lib.convert.formats.executorch.runner import SIGNATURE
from lib.convert.tools import torch_export
from lib.errors import JobFailed
from lib.model_inputs.dimensions import kinds
from lib.model_inputs.signature import Signature

# The runtime plans memory for the largest sizes, so they are small unless a visitor asks for more.
LARGEST = {"batch": 8, "space": 256, "latent": 128}
OTHERS = 64


def bounds(signature: Signature, needed: Mapping[str, int], asked: Mapping[str, int]) -> dict[str, int]:
    """The largest size of every dynamic dimension: as ``asked``, else ours; never less than ``needed``."""
    found = {symbol: asked.get(symbol, LARGEST.get(kind, OTHERS)) for symbol, kind in kinds(signature).items()}
    return {symbol: max(size, needed.get(symbol, 1)) for symbol, size in found.items()}


def narrowed(program: Any, signature: Signature, largest: Mapping[str, int], sizes: dict[str, int]) -> Any:
    """The program exported once more, its dimensions dynamic up to ``largest``; those without a bound are fixed.

    An ``Exported`` (``torch_export.py``). Raises JobFailed.
    """
    import torch

    class Named(torch.nn.Module):
        """ExecuTorch cannot fold norms into parameters whose names begin with a digit, as in a Sequential."""

        def __init__(self) -> None:
            super().__init__()
            self.model = program.module(check_guards=False)

        def forward(self, *given: torch.Tensor) -> Any:
            return self.model(*given)

    return torch_export.export(Named(), signature, dynamic=bool(largest), sizes=sizes, largest=largest)


def write(program: Any, signature: Signature, target: Path, delegate: str) -> dict[str, Any]:
    """Writes ``model.pte``; what it plans and delegates: ``largest`` sizes by dimension, ``memory`` in bytes, ``left``
    operators that the delegate does not take. Raises JobFailed."""
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    partitioners = []
    if delegate == "xnnpack":
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        partitioners = [XnnpackPartitioner()]
    flatc = importlib.resources.files("executorch.data.bin") / "flatc"
    os.environ.setdefault("FLATC_EXECUTABLE", str(flatc))
    told = {SIGNATURE: json.dumps(signature.as_dict())}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            lowered = to_edge_transform_and_lower(
                program,
                partitioner=partitioners,
                constant_methods=told,
                compile_config=EdgeCompileConfig(_check_ir_validity=False),
            )
            (target / NAME).write_bytes(lowered.to_executorch().buffer)
        except Exception as error:  # ExecuTorch's and torch's many kinds
            raise JobFailed(f"ExecuTorch gave up: {sanitize_message(_deepest(error))}") from None
    method = next(m for m in read_program(target / NAME) if m.name == "forward")
    if (len(method.inputs), len(method.outputs)) != (len(signature.inputs), len(signature.outputs)):
        raise JobFailed("ExecuTorch dropped inputs or outputs of this model.")
    largest = {
        symbol: size
        for value, tensor in zip(signature.inputs, method.inputs, strict=True)
        for symbol, size in zip(value.shape, tensor.sizes, strict=True)
        if isinstance(symbol, str)
    }
    return {"largest": largest, "memory": method.memory, "left": method.operators}


def _deepest(error: BaseException) -> BaseException:
    """The first cause: what is wrapped around it names ExecuTorch's own passes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
