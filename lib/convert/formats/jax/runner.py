"""Runs the JAX examples on the CPU. The artifact is a ``jax.json`` with ``{"example": name}``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lib.convert.formats.jax.examples import EXAMPLES, Example
from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean
from lib.settings import prepare_library

prepare_library(JAX_PLATFORMS="cpu")  # must precede jax's device discovery

NAME = "jax.json"
LONGEST = 1000  # bytes read of jax.json

Arrays = dict[str, np.ndarray]


def example(folder: Path) -> Example:
    """Returns the example that the artifact names.

    Raises InvalidFile for a missing or malformed ``jax.json``, InvalidValue for an unknown example.
    """
    try:
        with (folder / NAME).open("rb") as file:
            data = json.loads(file.read(LONGEST))
        name = data["example"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InvalidFile(f'{NAME} must be {{"example": name}}; names: {", ".join(EXAMPLES)}.') from None
    if not isinstance(name, str) or name not in EXAMPLES:
        raise InvalidValue("example", name, ", ".join(EXAMPLES))
    return EXAMPLES[name]


class JaxRunner:
    """Runs the example named in an artifact folder, compiled with ``jax.jit``."""

    def __init__(self, folder: Path) -> None:
        self._example = example(folder)
        self._compiled: object = None

    def signature(self) -> Signature:
        chosen = self._example
        role = "image" if chosen.input == "image" else ""
        return Signature(
            (Value(chosen.input, "float32", chosen.shape, role),), (Value(chosen.output, "float32", chosen.out_shape),)
        )

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the example on one float32 array. Raises JobFailed with jax's message."""
        import jax

        chosen = self._example
        if inputs.keys() != {chosen.input} or inputs[chosen.input].dtype != np.float32:
            raise JobFailed(f"The example takes one float32 array called {chosen.input!r}.")
        try:
            if self._compiled is None:
                self._compiled = jax.jit(chosen.function)
            with jax.default_matmul_precision("highest"):  # some devices round matmul inputs by default
                return {chosen.output: np.asarray(self._compiled(inputs[chosen.input]))}  # type: ignore[operator]
        except Exception as error:  # TypeError for shapes, and XLA's own errors
            raise JobFailed(f"JAX refused: {clean(str(error)) or type(error).__name__}") from None

    def close(self) -> None:
        self._compiled = None
