"""Saving and loading an exported program with the names, symbols and roles of its inputs and outputs.

``names.json`` lies in the archive beside the program and holds a ``Signature``. ``torch.export.load`` trusts what
it reads, so ``examined`` comes first: no pickle, no weights by pickle, and symbolic shapes that are plain arithmetic.
That closes the ways that are known; a ``.pt2`` from elsewhere is still to be treated as code.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.pt2.expressions import check_expression
from lib.errors import InvalidFile
from lib.model_inputs.signature import ROLES, Signature, Value
from lib.settings import prepare_library

NAME, NAMES = "model.pt2", "names.json"
UNBOUNDED = 1 << 31  # torch's way to say that a size has no end
MOST_BYTES = 64 << 20  # of a JSON file in the archive


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
    examined(path)
    prepare_library(TORCH_FORCE_WEIGHTS_ONLY_LOAD="1")
    extra = {NAMES: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # torch raises whatever the parts of the archive make it
        raise InvalidFile(f"torch cannot load this exported program: {sanitize_message(error)}") from None
    return program, _signature(program, extra[NAMES])


def examined(path: Path) -> None:
    """Raises InvalidFile for an archive that could run code when torch loads it, or that is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                if member.filename.endswith((".json", ".txt")) and member.file_size > MOST_BYTES:
                    raise InvalidFile(f"{member.filename[-80:]!r} in the exported program is too large.")
            texts = {m.filename: archive.read(m) for m in members if m.filename.endswith(".json")}
            for member in members:
                if "sample_inputs" in member.filename and member.file_size and not _plain(archive.read(member)):
                    raise InvalidFile("The exported program has sample inputs that are pickled objects; save it without.")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, InvalidFile):
            raise
        raise InvalidFile("Not an exported program: no archive that torch.export.save wrote.") from None
    if not any(name.endswith("models/model.json") for name in texts):
        raise InvalidFile("Not an exported program: there is no models/model.json in it.")
    for name, text in texts.items():
        if name.endswith(NAMES):
            continue
        try:
            _refuse(json.loads(text))
        except (ValueError, RecursionError) as error:
            if isinstance(error, InvalidFile):
                raise
            raise InvalidFile(f"{name[-80:]!r} in the exported program is no JSON.") from None


def _refuse(value: Any) -> None:
    """Walks a document of the archive."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if one.get("use_pickle") not in (None, False):
                raise InvalidFile("The exported program has weights as pickled objects; save it again with a newer torch.")
            if one.get("expr_str") is not None:
                check_expression(one["expr_str"])
            todo += one.values()
        elif isinstance(one, list):
            todo += one


def _plain(data: bytes) -> bool:
    """Whether torch's own reader of plain tensors takes it."""
    import torch

    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # pickle's, zipfile's and torch's own
        return False
    return True


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
