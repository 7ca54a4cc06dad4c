"""Runs ExecuTorch programs on the CPU, in ExecuTorch's own runtime. What they take and give is read without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.convert.core.runner import Arrays
from lib.convert.formats.executorch.check import NAME, Method, Tensor, read_program
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value

SIGNATURE = "workbench_signature"  # a method that returns names and dynamic dimensions as JSON
LONGEST = 200  # characters of a name
REFUSED = {0x10: "a size is not the one it was exported for, or above its bound", 0x12: "another shape, dtype or number"}


class ExecutorchRunner:
    """``folder`` holds ``model.pte``. Its method ``forward`` is run, or the first one that computes something."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        if not self._path.is_file():
            raise InvalidFile(f"There is no {NAME} in this artifact.")
        methods = read_program(self._path)
        computing = [m for m in methods if m.operators or m.delegates] or methods
        self._method = next((m for m in computing if m.name == "forward"), computing[0])
        said = next((m.constant for m in methods if m.name == SIGNATURE and m.constant), "")
        self._signature = named(self._method, said)
        self._loaded: Any = None

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Raises JobFailed where the runtime refuses these inputs: other sizes, dtypes, or above a bound."""
        from lib.convert.core.torch_values import from_numpy, to_numpy

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"The program did not get its inputs: {', '.join(missing)}.")
        if self._loaded is None:
            self._loaded = self._load()
        given = [from_numpy(inputs[v.name]) for v in self._signature.inputs]
        try:
            outputs = self._loaded.execute(given)
        except RuntimeError as error:
            code = str(error).rpartition("0x")[2]
            why = REFUSED.get(int(code, 16), "") if code.isalnum() and len(code) <= 4 else ""
            raise JobFailed(f"The ExecuTorch runtime refuses these inputs: {why or str(error)[:300]}.") from None
        # the next run writes into the same memory
        return {v.name: to_numpy(x).copy() for v, x in zip(self._signature.outputs, outputs, strict=True)}

    def close(self) -> None:
        self._loaded = None

    def _load(self) -> Any:
        from executorch.runtime import Runtime, Verification

        try:
            self._program = Runtime.get().load_program(self._path, verification=Verification.Minimal)  # checked by us
            return self._program.load_method(self._method.name)
        except (RuntimeError, KeyError) as error:
            raise JobFailed(f"The ExecuTorch runtime cannot load this program: {str(error)[:300]}") from None


def named(method: Method, text: str) -> Signature:
    """Names and dynamic dimensions as ``text`` (JSON of a Signature) has them, as far as they fit the program.

    Without, inputs are called ``input_0``, and every dimension of a bounded tensor ``input_0[0] (up to 8)``.
    """
    own = [
        [_value(f"{side}_{k}", tensor) for k, tensor in enumerate(some)]
        for side, some in (("input", method.inputs), ("output", method.outputs))
    ]
    try:
        said = Signature.from_dict(json.loads(text)) if text else Signature()
        sides = [[_merged(*both) for both in zip(*some, strict=True)] for some in zip(own, _sides(said), strict=True)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sides = own
    return Signature(*(tuple(side) for side in sides))


def _sides(said: Signature) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    return said.inputs, said.outputs


def _value(name: str, tensor: Tensor) -> Value:
    shape = (f"{name}[{k}] (up to {n})" if tensor.bounded and n > 1 else n for k, n in enumerate(tensor.sizes))
    return Value(name, tensor.dtype, tuple(shape))


def _merged(own: Value, said: Value) -> Value:
    """Raises ValueError for a text about another program."""
    if len(own.shape) != len(said.shape) or not isinstance(said.name, str) or not 0 < len(said.name) <= LONGEST:
        raise ValueError
    bounded = any(isinstance(d, str) for d in own.shape)
    shape = tuple(b if bounded and isinstance(b, int | str) else a for a, b in zip(own.shape, said.shape, strict=True))
    return Value(said.name, own.dtype, shape)
