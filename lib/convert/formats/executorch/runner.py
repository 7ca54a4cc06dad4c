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
    try:
        said = Signature.from_dict(json.loads(text)) if text else Signature()
        sides = ((method.inputs, said.inputs), (method.outputs, said.outputs))
        return Signature(*(tuple(_fitted(*both) for both in zip(*side, strict=True)) for side in sides))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # of another program, or no such text
        sides = (("input", method.inputs), ("output", method.outputs))
        return Signature(*(tuple(_value(f"{side}_{k}", one) for k, one in enumerate(some)) for side, some in sides))


def _value(name: str, tensor: Tensor) -> Value:
    shape = (f"{name}[{k}] (up to {n})" if tensor.bounded and n > 1 else n for k, n in enumerate(tensor.sizes))
    return Value(name, tensor.dtype, tuple(shape))


def _fitted(tensor: Tensor, said: Value) -> Value:
    """The program is right about dtypes, fixed sizes and bounds. Raises ValueError for a text about another one."""
    if not isinstance(said.name, str) or not 0 < len(said.name) <= LONGEST:
        raise ValueError
    sizes = zip(tensor.sizes, said.shape, strict=True)
    return Value(said.name, tensor.dtype, tuple(b if tensor.bounded and isinstance(b, str) else n for n, b in sizes))
