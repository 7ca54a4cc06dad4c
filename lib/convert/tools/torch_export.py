"""Exports PyTorch models to programs, and programs to ONNX; shared by the edges from PyTorch.

Dynamic dimensions are requested by name. If the exporter cannot keep them, fewer are requested, and the result says which
ones got a fixed size.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.convert.formats.pytorch import samples
from lib.convert.tools import onnx_ir_names, torch_translations
from lib.errors import JobFailed
from lib.model_inputs.signature import Signature
from lib.onnx_model.words import clean

OPSETS = ("default", "18", "19", "20", "21", "22", "23")
EXTERNAL = 1_500_000_000  # bytes of weights above which they are external data; protobuf is limited to 2 GB
TRACED_OPSET, LARGEST_TRACED_OPSET = 18, 20
LARGEST = 4096  # upper bound of a dynamic dimension if the model states none


@dataclass(slots=True)
class Exported:
    """An exported program. ``fixed``: dynamic dimensions of the source that have one size in ``program``."""

    program: Any
    fixed: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


def export(
    flat: Any,
    signature: Signature,
    *,
    dynamic: bool = True,
    sizes: dict[str, int] | None = None,
    largest: Mapping[str, int] | None = None,
) -> Exported:
    """Exports a flat model. Tries all dimensions as dynamic, then the batch only, then none.

    ``sizes``: known sizes of dynamic dimensions, for those that cannot stay dynamic. ``largest``: upper bounds of dynamic
    dimensions; the others get ``LARGEST``.

    All dimensions are tried in three ways: with our own ranges, with ranges that the exporter infers (a model with 64
    positions does not accept 4096), and with runtime assertions for size constraints that it cannot prove.

    Raises JobFailed with the last error.
    """
    symbols = signature.symbols()
    batch = tuple(s for s in symbols if s == "batch")
    tries = [(symbols, "ours"), (symbols, "inferred"), (symbols, "deferred"), (batch, "ours"), ((), "ours")]
    failed: list[str] = []
    for dynamic_symbols, ranges in dict.fromkeys(tries) if dynamic else [((), "ours")]:
        try:
            program, fixed = _export(flat, signature, dynamic_symbols, ranges, sizes or {}, largest or {})
            if fixed and ranges == "inferred":
                raise JobFailed(f"{_sizes(fixed)} would be fixed")
        except Exception as error:  # torch.export raises anything that the model's code does
            failed.append(f"{', '.join(dynamic_symbols) or 'nothing'} dynamic: {_line(error)}")
            continue
        messages = []
        if failed and fixed:
            messages.append(f"Exported with {_sizes(fixed)} fixed: the exporter could not keep it dynamic ({failed[0]}).")
        return Exported(program, fixed, messages)
    raise JobFailed(f"torch.export gave up: {failed[-1]}")


def _export(
    flat: Any, signature: Signature, kept: tuple[str, ...], ranges: str, given: dict[str, int], largest: Mapping[str, int]
) -> tuple[Any, dict[str, int]]:
    import torch

    from lib.convert.formats.pt2.files import signature_of

    sizes = {s: min(n, largest.get(s, n)) for s, n in samples.sizes(signature, 0).items()}
    # torch.export treats a dimension of size 1 as a constant
    sizes |= {s: n for s, n in given.items() if s in sizes and (n > 1 or s not in kept)}
    fixed = {s: given.get(s, 1) if s == "batch" else sizes[s] for s in sizes if s not in kept}
    auto = ranges == "inferred"
    dimensions: dict[str, Any] = {}
    for symbol in kept:
        if auto:
            dimensions[symbol] = torch.export.Dim.AUTO(max=largest[symbol]) if symbol in largest else torch.export.Dim.AUTO
        else:
            dimensions[symbol] = torch.export.Dim(symbol, min=1, max=largest.get(symbol, LARGEST))
    shapes = tuple({k: dimensions[d] for k, d in enumerate(v.shape) if d in dimensions} for v in signature.inputs)
    with torch.no_grad():
        program = torch.export.export(
            flat,
            samples.make(signature, sizes | fixed, 0),
            dynamic_shapes=(shapes,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=ranges == "deferred",
        )
    for source_value, program_value in zip(signature.inputs, signature_of(program).inputs, strict=True):
        fixed |= {
            s: d
            for s, d in zip(source_value.shape, program_value.shape, strict=True)
            if isinstance(s, str) and isinstance(d, int)
        }
    return program, fixed


def to_onnx(program: Any, signature: Signature, target: Path, opset: str = "default") -> list[str]:
    """Writes ``target`` (large weights to ``model.onnx.data``) with the signature's names; returns messages."""
    import torch

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            onnx_program = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=None if opset == "default" else int(opset),
                verbose=False,
                custom_translation_table=torch_translations.table(program),
            )
    except Exception as error:  # the exporter's own and torch's, with many lines and terminal colours
        raise JobFailed(f"torch.onnx.export gave up: {_deepest(error)}") from None
    assert onnx_program is not None
    onnx_ir_names.apply_signature(onnx_program.model, signature)
    weights = sum(v.const_value.nbytes for v in onnx_program.model.graph.initializers.values() if v.const_value is not None)
    onnx_program.save(str(target), external_data=weights > EXTERNAL)
    actual_opset = onnx_program.model.opset_imports.get("", 0)
    messages = [f"torch.onnx.export (dynamo): opset {actual_opset}, {len(onnx_program.model.graph)} nodes."]
    if opset != "default" and actual_opset != int(opset):
        messages.append(f"Opset {opset} was requested, but the exporter could not convert the model to it.")
    return messages


def trace_to_onnx(flat: Any, signature: Signature, target: Path, opset: str = "default") -> list[str]:
    """Like ``to_onnx`` with the TorchScript exporter, which traces one run: for models with data-dependent output sizes."""
    import torch
    from torchvision.models.detection._utils import BoxCoder

    def decode(self: Any, rel_codes: Any, boxes: list[Any]) -> Any:
        """torchvision's ``decode`` without its branch on the number of boxes, since a trace records only one branch."""
        columns = rel_codes.shape[1] // 4
        return self.decode_single(rel_codes, torch.cat(boxes)).reshape(-1, int(columns), 4)

    requested = TRACED_OPSET if opset == "default" else int(opset)
    used = min(requested, LARGEST_TRACED_OPSET)
    original_decode, BoxCoder.decode = BoxCoder.decode, decode
    try:
        with torch.no_grad():
            _trace(flat, signature, target, used)
    finally:
        BoxCoder.decode = original_decode
    messages = ["torch.onnx.export (TorchScript): the dynamo exporter cannot trace a varying number of objects per image."]
    if requested != used:
        messages.append(f"Opset {requested} was requested; this exporter supports none above {used}, and wrote that.")
    return messages


def _trace(flat: Any, signature: Signature, target: Path, opset: int) -> None:
    import torch

    torch.onnx.export(
        flat,
        samples.make(signature, samples.sizes(signature, 0), 0),
        str(target),
        dynamo=False,
        opset_version=opset,
        input_names=[v.name for v in signature.inputs],
        output_names=[v.name for v in signature.outputs],
        dynamic_axes={v.name: {k: d for k, d in enumerate(v.shape) if isinstance(d, str)} for v in signature.outputs},
        verbose=False,
    )


def _sizes(fixed: dict[str, int]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in fixed.items())


def _line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = text.partition(" For more information, run with TORCH_LOGS")[0]  # advice for the model's developer
    return f"{type(error).__name__}: {text}"[:300]


def _deepest(error: BaseException) -> str:
    """Returns the root cause in one line; the errors wrapped around it are about the exporter's steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return clean(_line(error))
