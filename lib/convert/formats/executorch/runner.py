"""Runs ExecuTorch programs on the CPU in ExecuTorch's runtime. The signature is read without the runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.convert.core.runner import Arrays
from lib.convert.formats.executorch.check import NAME, Method, Tensor, read_program
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value

SIGNATURE = "workbench_signature"  # method that returns names and dynamic dimensions as JSON
LONGEST = 200  # maximum characters of a name
REFUSED = {0x10: "a size is not the exported one, or above its bound", 0x12: "wrong number, shape or dtype"}


class ExecutorchRunner:
    """Runs ``model.pte`` of an artifact folder: its method ``forward``, or the first method that computes something."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        if not self._path.is_file():
            raise InvalidFile(f"There is no {NAME} in this artifact.")
        methods = read_program(self._path)
        computing = [m for m in methods if m.operators or m.delegates] or methods
        self._method = next((m for m in computing if m.name == "forward"), computing[0])
        signature_text = next((m.constant for m in methods if m.name == SIGNATURE and m.constant), "")
        self._signature = named(self._method, signature_text)
        self._loaded: Any = None

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the method. Raises JobFailed if the runtime rejects the inputs: wrong dtype or size, or above a bound."""
        from lib.convert.core.torch_values import from_numpy, to_numpy

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"Missing inputs: {', '.join(missing)}.")
        if self._loaded is None:
            self._loaded = self._load()
        tensors = [from_numpy(inputs[v.name]) for v in self._signature.inputs]
        try:
            outputs = self._loaded.execute(tensors)
        except RuntimeError as error:
            code = str(error).rpartition("0x")[2]
            reason = REFUSED.get(int(code, 16), "") if code.isalnum() and len(code) <= 4 else ""
            raise JobFailed(f"The ExecuTorch runtime refuses these inputs: {reason or str(error)[:300]}.") from None
        # copied, because the next run reuses the memory
        return {v.name: to_numpy(x).copy() for v, x in zip(self._signature.outputs, outputs, strict=True)}

    def close(self) -> None:
        self._loaded = None

    def _load(self) -> Any:
        from executorch.runtime import Runtime, Verification

        try:
            # Verification.Minimal is enough: read_program has verified the file
            self._program = Runtime.get().load_program(self._path, verification=Verification.Minimal)
            return self._program.load_method(self._method.name)
        except (RuntimeError, KeyError) as error:
            raise JobFailed(f"The ExecuTorch runtime cannot load this program: {str(error)[:300]}") from None


def named(method: Method, text: str) -> Signature:
    """Returns the method's signature with names and dynamic dimensions from ``text`` (a Signature as JSON).

    If ``text`` is empty or does not fit, inputs are named ``input_0``, and the dimensions of a bounded tensor
    ``input_0[0] (up to 8)``.
    """
    try:
        declared = Signature.from_dict(json.loads(text)) if text else Signature()
        sides = ((method.inputs, declared.inputs), (method.outputs, declared.outputs))
        return Signature(*(tuple(_fitted(*pair) for pair in zip(*side, strict=True)) for side in sides))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # missing, malformed or of another program
        sides = (("input", method.inputs), ("output", method.outputs))
        return Signature(
            *(tuple(_value(f"{side}_{k}", tensor) for k, tensor in enumerate(tensors)) for side, tensors in sides)
        )


def _value(name: str, tensor: Tensor) -> Value:
    shape = (f"{name}[{k}] (up to {n})" if tensor.bounded and n > 1 else n for k, n in enumerate(tensor.sizes))
    return Value(name, tensor.dtype, tuple(shape))


def _fitted(tensor: Tensor, said: Value) -> Value:
    """Merges a declared value into the program's own: only name and symbols are taken from ``said``.

    Raises ValueError if it does not fit the tensor.
    """
    if not isinstance(said.name, str) or not 0 < len(said.name) <= LONGEST:
        raise ValueError
    sizes = zip(tensor.sizes, said.shape, strict=True)
    return Value(said.name, tensor.dtype, tuple(b if tensor.bounded and isinstance(b, str) else n for n, b in sizes))
