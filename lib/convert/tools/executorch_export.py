"""Converts an exported PyTorch program to ExecuTorch: bounds its dynamic dimensions, lowers to XNNPACK, keeps names."""

from __future__ import annotations

import contextlib
import importlib.resources
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.executorch.check import NAME, read_program
from lib.convert.formats.executorch.runner import SIGNATURE
from lib.convert.tools import torch_export
from lib.errors import JobFailed
from lib.model_inputs import sizes
from lib.model_inputs.dimensions import kinds
from lib.model_inputs.signature import Signature, Value
from lib.settings import prepare_library

# The runtime plans memory for the largest sizes, so the defaults are small.
LARGEST = {"batch": 8, "space": 256, "latent": 128}
OTHERS = 64
LIMIT = 1 << 31
GLUE = ("executorch_prim::", "aten::sym_size")  # operators on sizes, not on values


@dataclass(frozen=True, slots=True)
class Bounded:
    """A program with bounded dimensions. ``signature`` has the ``fixed`` sizes in place of those dimensions."""

    program: Any
    signature: Signature
    fixed: dict[str, int]
    messages: list[str]


def bounded(program: Any, signature: Signature, options: Mapping[str, Any], limits: Mapping[str, int]) -> Bounded:
    """Exports the program again, with its dimensions dynamic up to a bound, or fixed.

    Uses an edge's options ``dynamic``, ``largest`` (bounds that the user wants), ``case_sizes`` (smallest allowed bounds)
    and ``sizes``. ``limits``: the program's own bounds. Raises InvalidValue for an unknown dimension, JobFailed if the
    export fails.
    """
    import torch

    class Named(torch.nn.Module):
        """Prefixes parameter names: ExecuTorch cannot fold norms into ones that begin with a digit, as in a Sequential."""

        def __init__(self) -> None:
            super().__init__()
            self.model = program.module(check_guards=False)

        def forward(self, *given: torch.Tensor) -> Any:
            return self.model(*given)

    requested = sizes.parse(options.get("largest") or "")
    sizes.check(requested, signature)
    needed = options.get("case_sizes") or {}
    largest = {s: requested.get(s, LARGEST.get(kind, OTHERS)) for s, kind in kinds(signature).items()}
    largest = {s: min(max(n, needed.get(s, 1)), limits.get(s, LIMIT)) for s, n in largest.items()}
    given, dynamic = dict(options.get("sizes") or {}), bool(options.get("dynamic"))
    exported = torch_export.export(Named(), signature, dynamic=dynamic, sizes=given, largest=largest)

    def values(some: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(
            replace(v, shape=tuple(exported.fixed.get(d, d) if isinstance(d, str) else d for d in v.shape)) for v in some
        )

    new_signature = replace(signature, inputs=values(signature.inputs), outputs=values(signature.outputs))
    return Bounded(exported.program, new_signature, exported.fixed, exported.messages)


def write(given: Bounded, target: Path, delegate: str) -> list[str]:
    """Writes ``model.pte``; returns messages for the user. Raises JobFailed if ExecuTorch fails."""
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    partitioners = []
    if delegate == "xnnpack":
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        partitioners = [XnnpackPartitioner()]
    flatc = importlib.resources.files("executorch.data.bin") / "flatc"
    prepare_library(FLATC_EXECUTABLE=str(flatc))
    metadata = {SIGNATURE: json.dumps(given.signature.as_dict())}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            lowered = to_edge_transform_and_lower(
                given.program,
                partitioner=partitioners,
                constant_methods=metadata,
                compile_config=EdgeCompileConfig(_check_ir_validity=False),
            )
            (target / NAME).write_bytes(lowered.to_executorch().buffer)
        except MemoryError:
            raise
        except Exception as error:  # ExecuTorch's and torch's many error types
            raise JobFailed(f"ExecuTorch gave up: {sanitize_message(_deepest(error))}") from None
    method = next(m for m in read_program(target / NAME) if m.name == "forward")
    sides = ((given.signature.inputs, method.inputs), (given.signature.outputs, method.outputs))
    if any(len(ours) != len(theirs) for ours, theirs in sides):
        raise JobFailed("ExecuTorch dropped inputs or outputs of this model.")
    largest = {
        symbol: size
        for value, tensor in zip(*sides[0], strict=True)
        for symbol, size in zip(value.shape, tensor.sizes, strict=True)
        if isinstance(symbol, str)
    }
    sizes_text = ", ".join(f"{symbol} = {size}" for symbol, size in largest.items())
    messages = (
        [f"Memory is planned for sizes up to {sizes_text}; larger ones are refused (option largest)."] if sizes_text else []
    )
    left = sorted({name for name in method.operators if not name.startswith(GLUE)})
    if delegate != "none" and left:
        messages.append(f"Not supported by XNNPACK, so run by portable kernels: {', '.join(left)[:300]}.")
    return given.messages + messages


def _deepest(error: BaseException) -> BaseException:
    """Returns the root cause; the errors wrapped around it only name ExecuTorch's passes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
