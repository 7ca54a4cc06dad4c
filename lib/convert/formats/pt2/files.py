"""Saving and loading an exported program with the names, symbols and roles of its inputs and outputs.

``names.json`` lies in the archive beside the program and holds a ``Signature``. ``torch.export.load`` trusts what
it reads, so the check of uploads (``check.py``) comes first, whoever made the file. That closes the ways that are known;
a ``.pt2`` from elsewhere is still to be treated as code.
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
UNBOUNDED = 1 << 31  # torch's way to say that a size has no end


def save(program: Any, folder: Path, signature: Signature) -> Path:
    """Writes ``model.pt2`` without sample inputs, which torch would pickle, and without guards, which are Python text
    that whoever loads the file would run; ranges and asserts in the graph say the same.
    """
    import torch

    program.example_inputs = None
    program._guards_code = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, folder / NAME, extra_files={NAMES: json.dumps(signature.as_dict())})
    return folder / NAME


def load(folder: Path) -> tuple[Any, Signature]:
    """The program and what it takes and gives. Raises InvalidFile for what is no exported program."""
    import torch

    path = folder / NAME
    check_pt2(path)
    prepare_library(TORCH_FORCE_WEIGHTS_ONLY_LOAD="1")
    extra = {NAMES: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # torch raises whatever the parts of the archive make it
        raise InvalidFile(f"torch cannot load this exported program: {sanitize_message(error)}") from None
    return program, _signature(program, extra[NAMES])


def _signature(program: Any, text: str) -> Signature:
    """What ``names.json`` says, as far as it fits the program; the program's own names otherwise."""
    own = signature_of(program)
    try:
        said = Signature.from_dict(json.loads(text)) if text else own
        if not all(isinstance(v.name, str) for v in (*said.inputs, *said.outputs)):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidFile("names.json in the exported program is damaged.") from None
    if (len(said.inputs), len(said.outputs)) != (len(own.inputs), len(own.outputs)):
        raise InvalidFile("names.json in the exported program names other inputs or outputs than the program has.")
    inputs = tuple(_merged(a, b) for a, b in zip(said.inputs, own.inputs, strict=True))
    outputs = tuple(_merged(a, b) for a, b in zip(said.outputs, own.outputs, strict=True))
    left = {d for v in inputs for d in v.shape if isinstance(d, str)}
    return Signature(inputs, outputs, {k: v for k, v in said.sizes.items() if k in left and _several(v)})


def _several(sizes: tuple[Any, ...]) -> bool:
    """At least two different ones: with a single size a dynamic dimension would be proved at nothing else."""
    return len(set(sizes)) > 1 and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes)


def _merged(said: Value, own: Value) -> Value:
    """The program is right about dtypes, ranks and fixed sizes; the file about names, symbols and, where these fit
    the program, roles: an upload could choose one that makes its own proof easy (a ``mask`` is mostly ones)."""
    shape = own.shape
    if len(said.shape) == len(own.shape):
        shape = tuple(
            b if isinstance(b, int) else a if isinstance(a, str) else b for a, b in zip(said.shape, own.shape, strict=True)
        )
    role, high = said.role, said.high
    whole = own.dtype == "bool" or own.dtype.startswith(("int", "uint"))
    if role not in ROLES or (role in ("tokens", "mask", "positions") and not (whole and len(own.shape) <= 2)):
        role = ""
    if role in ("timestep", "index") and not whole:
        role = ""
    fits = whole and isinstance(high, int) and not isinstance(high, bool) and high > 1  # of one value nothing depends
    return Value(said.name, own.dtype, shape, role, high if fits else None)


def signature_of(program: Any) -> Signature:
    """What the program itself says of its inputs and outputs: its own names, and symbols such as ``s77``."""
    nodes = {n.name: n for n in program.graph.nodes}
    found = program.graph_signature
    inputs = tuple(_value(name, nodes[name].meta.get("val")) for name in found.user_inputs if name in nodes)
    outputs = tuple(_value(f"output_{k}", _meta(nodes, name)) for k, name in enumerate(found.user_outputs))
    return Signature(inputs, outputs)


def limits_of(program: Any, signature: Signature) -> dict[str, int]:
    """The largest size that the program takes of a free dimension, by its symbol in ``signature``, where it has one."""
    most = {str(symbol): found.upper for symbol, found in program.range_constraints.items()}
    limits: dict[str, int] = {}
    for said, has in zip(signature.inputs, signature_of(program).inputs, strict=True):
        for symbol, own in zip(said.shape, has.shape, strict=False):
            upper = most.get(str(own))
            if isinstance(symbol, str) and isinstance(own, str) and upper is not None and upper.is_Integer:
                limits[symbol] = min(int(upper), limits.get(symbol, int(upper)))
    return {symbol: n for symbol, n in limits.items() if n < UNBOUNDED}


def _meta(nodes: dict[str, Any], name: Any) -> Any:
    return nodes[name].meta.get("val") if isinstance(name, str) and name in nodes else None


def _value(name: str, fake: Any) -> Value:
    import torch

    if not isinstance(fake, torch.Tensor):
        raise InvalidFile(f"{name[:80]!r} of the exported program is no tensor; only tensors can be fed and compared.")
    shape = tuple(_size(d) for d in fake.shape)
    return Value(name, str(fake.dtype).removeprefix("torch."), shape)


def _size(size: Any) -> int | str:
    """torch leaves a symbol that it found to have one value a symbol."""
    if isinstance(size, int):
        return size
    return int(size.node.expr) if size.node.expr.is_number else str(size)
