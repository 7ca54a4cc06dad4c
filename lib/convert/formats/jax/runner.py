"""Runs the JAX examples on the CPU. An artifact is ``jax.json``: ``{"example": name}``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lib.convert.formats.jax.examples import EXAMPLES, Example
from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean
from lib.settings import prepare_library

prepare_library(JAX_PLATFORMS="cpu")  # before jax looks for devices

NAME = "jax.json"
LONGEST = 1000  # bytes

Arrays = dict[str, np.ndarray]


def example(folder: Path) -> Example:
    """The function an artifact names. Raises InvalidFile for no such artifact, InvalidValue for no such example."""
    try:
        with (folder / NAME).open("rb") as file:
            given = json.loads(file.read(LONGEST))
        name = given["example"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InvalidFile(f'{NAME} must be {{"example": name}}; names: {", ".join(EXAMPLES)}.') from None
    if not isinstance(name, str) or name not in EXAMPLES:
        raise InvalidValue("example", name, ", ".join(EXAMPLES))
    return EXAMPLES[name]


class JaxRunner:
    def __init__(self, folder: Path) -> None:
        self._example = example(folder)
        self._compiled: object = None

    def signature(self) -> Signature:
        found = self._example
        role = "image" if found.input == "image" else ""
        return Signature(
            (Value(found.input, "float32", found.shape, role),), (Value(found.output, "float32", found.out_shape),)
        )

    def run(self, inputs: Arrays) -> Arrays:
        """Raises JobFailed in jax's words."""
        import jax

        found = self._example
        if inputs.keys() != {found.input} or inputs[found.input].dtype != np.float32:
            raise JobFailed(f"The example takes one float32 array called {found.input!r}.")
        try:
            if self._compiled is None:
                # the exact product, where a device would round its factors
                self._compiled = jax.jit(found.function)
            with jax.default_matmul_precision("highest"):
                return {found.output: np.asarray(self._compiled(inputs[found.input]))}  # type: ignore[operator]
        except Exception as error:  # TypeErrors of shapes, XLA's own
            raise JobFailed(f"JAX refused: {clean(str(error)) or type(error).__name__}") from None

    def close(self) -> None:
        self._compiled = None
