"""From a PyTorch model to an exported program, and from that to ONNX: what the edges from PyTorch share.

Dynamic dimensions are asked for by name; where the exporter cannot keep them, fewer are, and the answer says
which got a fixed size. Knows no edge and proves nothing.
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
EXTERNAL = 1_500_000_000  # bytes of weights from which they stand beside the model; one file may have 2 GB at most
TRACED_OPSET, LARGEST_TRACED_OPSET = 18, 20
LARGEST = 4096  # of a dynamic dimension, where the model does not say


@dataclass(slots=True)
class Exported:
    """``fixed``: dynamic dimensions of the source that have one size in ``program``."""

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
    """The exported program of a flat model. Tries all dimensions dynamic, then the batch only, then none.

    ``sizes``: of dynamic dimensions, where they are known; a dimension that cannot stay dynamic gets its size.
    ``largest``: the sizes up to which they stay dynamic, ``LARGEST`` for the others.

    All are tried three times: with ranges of ours, with those that the exporter infers (a model with 64 positions
    takes no 4096), and with what it cannot prove of sizes as checks while running.

    Raises JobFailed with the last complaint.
    """
    symbols = signature.symbols()
    batch = tuple(s for s in symbols if s == "batch")
    tries = [(symbols, "ours"), (symbols, "inferred"), (symbols, "deferred"), (batch, "ours"), ((), "ours")]
    failed: list[str] = []
    for kept, ranges in dict.fromkeys(tries) if dynamic else [((), "ours")]:
        try:
            program, fixed = _export(flat, signature, kept, ranges, sizes or {}, largest or {})
            if fixed and ranges == "inferred":
                raise JobFailed(f"{_sizes(fixed)} would be fixed")
        except Exception as error:  # torch.export raises whatever the model's code meets
            failed.append(f"{', '.join(kept) or 'nothing'} dynamic: {_line(error)}")
            continue
        said = []
        if failed and fixed:
            said.append(f"Exported with {_sizes(fixed)} fixed: the exporter could not keep it dynamic ({failed[0]}).")
        return Exported(program, fixed, said)
    raise JobFailed(f"torch.export gave up: {failed[-1]}")


def _export(
    flat: Any, signature: Signature, kept: tuple[str, ...], ranges: str, given: dict[str, int], largest: Mapping[str, int]
) -> tuple[Any, dict[str, int]]:
    import torch

    from lib.convert.formats.pt2.files import signature_of

    sizes = {s: min(n, largest.get(s, n)) for s, n in samples.sizes(signature, 0).items()}
    # an exporter takes a 1 for a constant
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
    for said, has in zip(signature.inputs, signature_of(program).inputs, strict=True):
        fixed |= {s: d for s, d in zip(said.shape, has.shape, strict=True) if isinstance(s, str) and isinstance(d, int)}
    return program, fixed


def to_onnx(program: Any, signature: Signature, target: Path, opset: str = "default") -> list[str]:
    """Writes ``target`` (and ``model.onnx.data`` beside it for large ones), named as in ``signature``; returns messages."""
    import torch

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=None if opset == "default" else int(opset),
                verbose=False,
                custom_translation_table=torch_translations.table(program),
            )
    except Exception as error:  # the exporter's own and torch's, many lines long and in a terminal's colours
        raise JobFailed(f"torch.onnx.export gave up: {_deepest(error)}") from None
    assert made is not None
    onnx_ir_names.apply_signature(made.model, signature)
    weights = sum(v.const_value.nbytes for v in made.model.graph.initializers.values() if v.const_value is not None)
    made.save(str(target), external_data=weights > EXTERNAL)
    got = made.model.opset_imports.get("", 0)
    said = [f"torch.onnx.export (dynamo): opset {got}, {len(made.model.graph)} nodes."]
    if opset != "default" and got != int(opset):
        said.append(f"Opset {opset} was asked for; the exporter could not bring the model to it.")
    return said


def trace_to_onnx(flat: Any, signature: Signature, target: Path, opset: str = "default") -> list[str]:
    """The same with torch's older exporter, which traces one run: for detection models, whose rows depend on the data."""
    import torch
    from torchvision.models.detection._utils import BoxCoder

    def decode(self: Any, rel_codes: Any, boxes: list[Any]) -> Any:
        """Like torchvision's, but without its question whether there are boxes: a trace keeps one answer for ever."""
        columns = rel_codes.shape[1] // 4
        return self.decode_single(rel_codes, torch.cat(boxes)).reshape(-1, int(columns), 4)

    wanted = TRACED_OPSET if opset == "default" else int(opset)
    used = min(wanted, LARGEST_TRACED_OPSET)
    theirs, BoxCoder.decode = BoxCoder.decode, decode
    try:
        with torch.no_grad():
            _trace(flat, signature, target, used)
    finally:
        BoxCoder.decode = theirs
    said = ["torch.onnx.export (TorchScript): the dynamo exporter cannot follow how many objects a picture has."]
    if wanted != used:
        said.append(f"Opset {wanted} was asked for; this exporter knows none above {used}, and wrote that.")
    return said


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
    text = text.partition(" For more information, run with TORCH_LOGS")[0]  # an advice for who has the code
    return f"{type(error).__name__}: {text}"[:300]


def _deepest(error: BaseException) -> str:
    """The first cause, in one line: what the exporter wraps around it is about its own steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return clean(_line(error))
