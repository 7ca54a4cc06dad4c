"""Exports an ONNX model as a program, and checks it: saves, reloads and runs it, and compares it with ONNX.

The expected outputs are those of onnxruntime (or of the reference evaluator if onnxruntime lacks a kernel) on generated
inputs of several seeds and two sizes. dtypes and shapes must be equal, too.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lib.convert.core.runner import Arrays
from lib.convert.core.tool_messages import sanitize_message
from lib.convert.core.torch_values import from_numpy
from lib.convert.formats.pt2 import files as pt2_files
from lib.convert.formats.pt2.runner import Pt2Runner
from lib.convert.proof.cases import Case
from lib.convert.tools import onnx_importer
from lib.error_measures import absolute_error, close, peak
from lib.errors import JobFailed
from lib.model_inputs.signature import Signature
from lib.onnx_model.open import Model

# ATOL is relative to the output's largest expected value, but at least to PEAK: smaller outputs may be differences of
# larger numbers, with their rounding error. The proof is stricter; this only rejects a misread model.
RTOL, ATOL, PEAK = 1e-3, 1e-5, 0.1
HALF = 4e-3  # RTOL for float16: four of its steps


@dataclass(slots=True)
class Checked:
    """A case of inputs with the ONNX model's outputs for it."""

    case: Case
    outputs: Arrays


@dataclass(slots=True)
class Exported:
    """The result of a checked export."""

    fixed: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)  # the largest sizes that the program accepts
    decided: list[str] = field(default_factory=list)  # operators whose input values are baked into the program
    outputs: Arrays = field(default_factory=dict)  # of the saved and reloaded program, on the first case


class Disagrees(Exception):
    """The program's outputs are not those of the ONNX model."""


def export_checked(
    model: Model, signature: Signature, checks: list[Checked], target: Path, *, sample: bool = False
) -> Exported:
    """Writes ``model.pt2`` to ``target``. Raises JobFailed with the reason, and leaves no file, if it disagrees.

    ``sample``: the inputs are the user's, and their values may decide shapes.
    """
    try:
        return _first_plan(model, signature, checks, target, sample)
    except MemoryError:
        raise
    except Exception as error:  # the importer and torch.export raise anything
        (target / pt2_files.NAME).unlink(missing_ok=True)
        raise JobFailed(f"Could not make a program that agrees with the ONNX model: {sanitize_message(error)}") from error


def _first_plan(model: Model, signature: Signature, checks: list[Checked], target: Path, sample: bool) -> Exported:
    """Exports with the first of ``_plans`` that works, and checks the saved and reloaded program."""
    module = onnx_importer.load(model)
    reason = ""
    for dims in _plans(signature):
        try:
            fixed, limits = export(module, signature, checks, dims, target, sample)
            runner = Pt2Runner(target)
            outputs: Arrays = {}
            for check in checks:
                if fixed and any(check.case.sizes.get(s) != n for s, n in fixed.items()):
                    continue
                actual = runner.run(check.case.arrays)
                differs(actual, check.outputs)
                outputs = outputs or actual
            if not outputs:
                raise Disagrees("no made-up input has the program's fixed sizes")
        except (Disagrees, MemoryError):
            raise
        except Exception as error:  # torch.export raises many types
            reason = reason or sanitize_message(error)
            continue
        return Exported(fixed, limits, list(dict.fromkeys(getattr(module, "decided_by", []))), outputs)
    raise JobFailed(reason)


def _plans(signature: Signature) -> list[str]:
    return ["named", "auto", "batch", "static"] if signature.symbols() else ["static"]


def export(
    module: torch.nn.Module, signature: Signature, checks: list[Checked], plan: str, target: Path, sample: bool
) -> tuple[dict[str, int], dict[str, int]]:
    """Exports on the case with the largest sizes (the smallest for "static") and saves the program.

    Returns (fixed, limits): sizes of dimensions that became fixed, and upper bounds.
    """
    ordered = sorted(checks, key=lambda c: sum(c.case.sizes.values()))
    case = (ordered[0] if plan == "static" else ordered[-1]).case
    args = tuple(from_numpy(case.arrays[v.name]) for v in signature.inputs)
    dynamic_symbols = (
        signature.symbols() if plan in ("named", "auto") else signature.symbols()[:1] if plan == "batch" else ()
    )
    dims = {
        s: torch.export.Dim(f"dim{k}", min=1) if plan != "auto" else torch.export.Dim.AUTO
        for k, s in enumerate(dynamic_symbols)
    }
    shapes = tuple({k: dims[d] for k, d in enumerate(v.shape) if d in dims} or None for v in signature.inputs)
    player = getattr(module, "playing_from", None) if sample else None
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with player(args) if player is not None else nullcontext():
            program = torch.export.export(module, args, dynamic_shapes=(shapes,) if shapes else None, strict=False)
    pt2_files.save(program, target, signature)
    program_signature = pt2_files.signature_of(program)
    fixed = {}
    for source_value, program_value in zip(signature.inputs, program_signature.inputs, strict=True):
        fixed |= {
            s: d
            for s, d in zip(source_value.shape, program_value.shape, strict=False)
            if isinstance(s, str) and isinstance(d, int)
        }
    return fixed, pt2_files.limits_of(program, signature)


def differs(got: Arrays, expected: Arrays) -> None:
    """Raises Disagrees with a description of the first difference."""
    for name, b in expected.items():
        a = got.get(name)
        if a is None:
            raise Disagrees(f"the output {name[:60]!r} is missing")
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            raise Disagrees(f"{name[:60]!r} is {a.dtype} {list(a.shape)}, ONNX has {b.dtype} {list(b.shape)}")
        if b.dtype.kind in "iub":
            if not np.array_equal(a, b):
                raise Disagrees(f"{int((a != b).sum())} of {b.size} values of {name[:60]!r} differ")
            continue
        error, largest = absolute_error(b, a), peak(b)
        if not close(error, b, HALF if b.dtype.itemsize == 2 else RTOL, ATOL * max(largest, PEAK)).all():
            worst = float(error.max(initial=0.0))
            raise Disagrees(f"{name[:60]!r} differs by up to {worst:.2g} where its largest value is {largest:.2g}")
