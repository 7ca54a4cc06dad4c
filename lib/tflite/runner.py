"""Runs TensorFlow Lite files in the LiteRT interpreter, after their structure has been verified. Child processes only."""

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
    """Every signature of the file is run, or the ``chosen`` one. ``options`` are the interpreter's own.

    Values go in and out as they are stored: an input that is quantized takes its integers.
    """

    def __init__(self, path: Path, chosen: str = "", **options: Any) -> None:
        model = tflite_file.read(path)
        self._parts = parts(model, chosen)
        self.signatures = keys(model) + not_compared(model)  # one of which may be chosen
        self._signature = described(model, chosen)
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter: Any = Interpreter(model_path=str(path), **options)
        except (ValueError, RuntimeError) as error:
            raise InvalidFile(f"The LiteRT interpreter refuses this file: {clean(str(error))}") from None

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Raises JobFailed in the interpreter's words, or where an input has another dtype or shape."""
        for value in self._signature.inputs:
            _fits(value, inputs)
        outputs: Arrays = {}
        for part in self._parts:
            try:
                found = self._called(part, inputs) if part.graph else self._main(part, inputs)
            except (ValueError, RuntimeError) as error:
                which = f" (signature {part.key[:80]!r})" if len(self._parts) > 1 else ""
                raise refused(error, f"The LiteRT interpreter refuses{which}") from None
            # copies: the interpreter's own memory changes with the next run
            outputs |= {name: np.array(value) for name, value in found.items()}
        return outputs

    def _main(self, part: SignatureGraph, inputs: Arrays) -> Arrays:
        """The first graph, which needs no signature."""
        interpreter = self._interpreter
        part.invoke(interpreter, inputs)
        return {name: interpreter.get_tensor(index) for name, index in part.outputs.items()}

    def _called(self, part: SignatureGraph, inputs: Arrays) -> Arrays:
        skip = len(named(part.key, "", len(self._parts) > 1))
        found = self._interpreter.get_signature_runner(part.key)(**{n[skip:]: inputs[n] for n in part.inputs})
        return {name: found[name[skip:]] for name in part.outputs}

    def close(self) -> None:
        self._interpreter = None


def refused(error: Exception, what: str) -> WorkbenchError:
    """The interpreter's complaint; an operator that it does not have is a fault of the file."""
    if custom := UNKNOWN.search(str(error)):
        return InvalidFile(
            f"The file needs the operator {custom[1][:80]!r}, which the LiteRT runtime does not have: only its author's "
            "runtime can run it."
        )
    return JobFailed(f"{what}: {clean(str(error))}")


def _fits(value: Value, inputs: Arrays) -> None:
    if value.name not in inputs:
        raise JobFailed(f"The model did not get its input {value.name[:80]!r}.")
    given = inputs[value.name]
    same = len(given.shape) == len(value.shape) and all(
        isinstance(want, str) or want == have for want, have in zip(value.shape, given.shape, strict=True)
    )
    if not same or given.dtype.name != value.dtype:
        raise JobFailed(
            f"{value.name[:80]!r} takes {value.dtype} {list(value.shape)}; it got {given.dtype} {list(given.shape)}."
        )
