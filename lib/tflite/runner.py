"""Runs verified TensorFlow Lite files in the LiteRT interpreter. Child processes only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, JobFailed, WorkbenchError
from lib.model_inputs.signature import Signature, Value, named
from lib.onnx_model.words import clean
from lib.tflite import file as tflite_file
from lib.tflite.signatures import SignatureGraph, described, keys, not_compared, parts

Arrays = dict[str, np.ndarray]
UNKNOWN = re.compile(r"unresolved custom op: (\w+)")


class Runner:
    """Runs every signature of the file, or only the ``chosen`` one. ``options`` are passed to the interpreter.

    Values are passed as stored: a quantized input takes integers.
    """

    def __init__(self, path: Path, chosen: str = "", **options: Any) -> None:
        model = tflite_file.read(path)
        self._parts = parts(model, chosen)
        self.signatures = keys(model) + not_compared(model)  # valid values of ``chosen``
        self._signature = described(model, chosen)
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter: Any = Interpreter(model_path=str(path), **options)
        except (ValueError, RuntimeError) as error:
            raise InvalidFile(f"The LiteRT interpreter refuses this file: {clean(str(error))}") from None

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Raises JobFailed with the interpreter's message, or if an input has another dtype or shape."""
        for value in self._signature.inputs:
            _fits(value, inputs)
        outputs: Arrays = {}
        for part in self._parts:
            try:
                values = self._called(part, inputs) if part.graph else self._main(part, inputs)
            except (ValueError, RuntimeError) as error:
                suffix = f" (signature {part.key[:80]!r})" if len(self._parts) > 1 else ""
                raise refused(error, f"The LiteRT interpreter refuses{suffix}") from None
            # copies, since the next run overwrites the interpreter's memory
            outputs |= {name: np.array(value) for name, value in values.items()}
        return outputs

    def _main(self, part: SignatureGraph, inputs: Arrays) -> Arrays:
        """Runs the first graph, which needs no signature."""
        interpreter = self._interpreter
        part.invoke(interpreter, inputs)
        return {name: interpreter.get_tensor(index) for name, index in part.outputs.items()}

    def _called(self, part: SignatureGraph, inputs: Arrays) -> Arrays:
        """Runs a signature. Its inputs and outputs are named without the prefix that ``named`` adds."""
        skip = len(named(part.key, "", len(self._parts) > 1))
        values = self._interpreter.get_signature_runner(part.key)(**{n[skip:]: inputs[n] for n in part.inputs})
        return {name: values[name[skip:]] for name in part.outputs}

    def close(self) -> None:
        self._interpreter = None


def refused(error: Exception, what: str) -> WorkbenchError:
    """Converts an exception of the interpreter.

    InvalidFile for an unknown custom operator, else JobFailed.
    """
    if custom := UNKNOWN.search(str(error)):
        return InvalidFile(
            f"The file needs the operator {custom[1][:80]!r}, which the LiteRT runtime does not have: only its author's "
            "runtime can run it."
        )
    return JobFailed(f"{what}: {clean(str(error))}")


def _fits(value: Value, inputs: Arrays) -> None:
    if value.name not in inputs:
        raise JobFailed(f"The model did not get its input {value.name[:80]!r}.")
    array = inputs[value.name]
    same = len(array.shape) == len(value.shape) and all(
        isinstance(want, str) or want == have for want, have in zip(value.shape, array.shape, strict=True)
    )
    if not same or array.dtype.name != value.dtype:
        raise JobFailed(
            f"{value.name[:80]!r} takes {value.dtype} {list(value.shape)}; it got {array.dtype} {list(array.shape)}."
        )
