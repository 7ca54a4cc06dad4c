"""Saves and loads exported programs with the names, symbols and roles of their inputs and outputs.

``names.json`` is stored in the archive and holds a ``Signature``. ``torch.export.load`` trusts its input, so every file
goes through ``check.py`` first, our own included. That only blocks the known attacks: treat a ``.pt2`` from elsewhere
as code.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.pt2.check import check_pt2
from lib.errors import InvalidFile
from lib.model_inputs.signature import ROLES, Signature, Value
from lib.settings import prepare_library

NAME, NAMES = "model.pt2", "names.json"
UNBOUNDED = 1 << 31  # upper bounds from here on mean no bound


def save(program: Any, folder: Path, signature: Signature) -> Path:
    """Writes ``model.pt2`` and returns its path.

    Drops sample inputs, which torch would pickle, and guards, which are Python source that the loader would run;
    ranges and asserts in the graph check the same conditions.
    """
    import torch

    program.example_inputs = None
    program._guards_code = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, folder / NAME, extra_files={NAMES: json.dumps(signature.as_dict())})
    return folder / NAME


def load(folder: Path) -> tuple[Any, Signature]:
    """Returns the program and its signature. Raises InvalidFile for an unsafe or unreadable file."""
    import torch

    path = folder / NAME
    check_pt2(path)
    prepare_library(TORCH_FORCE_WEIGHTS_ONLY_LOAD="1")
    extra = {NAMES: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # torch raises many kinds of errors for a broken archive
        raise InvalidFile(f"torch cannot load this exported program: {sanitize_message(error)}") from None
    return program, _signature(program, extra[NAMES])


def _signature(program: Any, text: str) -> Signature:
    """Returns the signature in ``names.json``, reconciled with the program; the program's own if there is none.

    Raises InvalidFile if it is damaged or has another number of inputs or outputs.
    """
    program_signature = signature_of(program)
    try:
        declared = Signature.from_dict(json.loads(text)) if text else program_signature
        if not all(isinstance(v.name, str) for v in (*declared.inputs, *declared.outputs)):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidFile("names.json in the exported program is damaged.") from None
    if (len(declared.inputs), len(declared.outputs)) != (len(program_signature.inputs), len(program_signature.outputs)):
        raise InvalidFile("names.json in the exported program does not match the program's inputs and outputs.")
    inputs = tuple(_merged(a, b) for a, b in zip(declared.inputs, program_signature.inputs, strict=True))
    outputs = tuple(_merged(a, b) for a, b in zip(declared.outputs, program_signature.outputs, strict=True))
    used = {d for v in inputs for d in v.shape if isinstance(d, str)}
    return Signature(inputs, outputs, {k: v for k, v in declared.sizes.items() if k in used and _several(v)})


def _several(sizes: tuple[Any, ...]) -> bool:
    """Returns whether there are two or more different sizes: one size alone would not test a dynamic dimension."""
    return len(set(sizes)) > 1 and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes)


def _merged(said: Value, own: Value) -> Value:
    """Merges a value of ``names.json`` with the program's own.

    Dtype, rank and fixed sizes come from the program; name and symbols from the file. The file's role counts only if it
    fits the program: an upload could choose one that makes its own proof easy (a ``mask`` is mostly ones).
    """
    shape = own.shape
    if len(said.shape) == len(own.shape):
        shape = tuple(
            b if isinstance(b, int) else a if isinstance(a, str) else b for a, b in zip(said.shape, own.shape, strict=True)
        )
    role, high = said.role, said.high
    is_integer = own.dtype == "bool" or own.dtype.startswith(("int", "uint"))
    if role not in ROLES or (role in ("tokens", "mask", "positions") and not (is_integer and len(own.shape) <= 2)):
        role = ""
    if role in ("timestep", "index") and not is_integer:
        role = ""
    # a single value would test nothing, so ``high`` must be above 1
    fits = is_integer and isinstance(high, int) and not isinstance(high, bool) and high > 1
    return Value(said.name, own.dtype, shape, role, high if fits else None)


def signature_of(program: Any) -> Signature:
    """Returns the program's own signature: its input names, ``output_0`` and so on, and symbols such as ``s77``."""
    nodes = {n.name: n for n in program.graph.nodes}
    graph_signature = program.graph_signature
    inputs = tuple(_value(name, nodes[name].meta.get("val")) for name in graph_signature.user_inputs if name in nodes)
    outputs = tuple(_value(f"output_{k}", _meta(nodes, name)) for k, name in enumerate(graph_signature.user_outputs))
    return Signature(inputs, outputs)


def limits_of(program: Any, signature: Signature) -> dict[str, int]:
    """Returns the upper bounds of dynamic dimensions, by their symbols in ``signature``; unbounded ones are left out."""
    upper_bounds = {str(symbol): value_range.upper for symbol, value_range in program.range_constraints.items()}
    limits: dict[str, int] = {}
    for declared, actual in zip(signature.inputs, signature_of(program).inputs, strict=True):
        for symbol, own in zip(declared.shape, actual.shape, strict=False):
            upper = upper_bounds.get(str(own))
            if isinstance(symbol, str) and isinstance(own, str) and upper is not None and upper.is_Integer:
                limits[symbol] = min(int(upper), limits.get(symbol, int(upper)))
    return {symbol: n for symbol, n in limits.items() if n < UNBOUNDED}


def _meta(nodes: dict[str, Any], name: Any) -> Any:
    return nodes[name].meta.get("val") if isinstance(name, str) and name in nodes else None


def _value(name: str, fake: Any) -> Value:
    import torch

    if not isinstance(fake, torch.Tensor):
        raise InvalidFile(
            f"{name[:80]!r} of the exported program is not a tensor; only tensors can be passed in and compared."
        )
    shape = tuple(_size(d) for d in fake.shape)
    return Value(name, str(fake.dtype).removeprefix("torch."), shape)


def _size(size: Any) -> int | str:
    """Returns an int, or the symbol's name; torch keeps a SymInt even where the value turned out to be constant."""
    if isinstance(size, int):
        return size
    return int(size.node.expr) if size.node.expr.is_number else str(size)
