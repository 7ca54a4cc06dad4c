"""Runners: one module a format, same verbs. ``load`` finds the one for an artifact.

A runner is made from an artifact's folder (that is loading) and has ``signature()``, ``run(inputs)`` and
``close()``. It imports its framework inside its methods or at its module's top; nothing imports a runner's
module but ``load``, in the child process and the environment that can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from lib.errors import LimitExceeded
from lib.model_inputs.signature import Signature
from lib.time_limit import TooSlow, at_most

Arrays = dict[str, np.ndarray]


class Runner(Protocol):
    """``__init__`` loads the artifact; raises InvalidFile for one that is damaged or of another format."""

    def __init__(self, folder: Path) -> None: ...

    def signature(self) -> Signature: ...

    def run(self, inputs: Arrays) -> Arrays:
        """Every output by name. Raises JobFailed where the framework refuses these inputs."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class CoverageChecked(Protocol):
    """A runner that can tell which parts of its model a list of inputs does not test."""

    def blind_spots(self, cases: list[Arrays]) -> list[str]: ...


@runtime_checkable
class Checked(Protocol):
    """A runner that can tell whether its model is sound before it is run, and which outputs depend on no input."""

    def check(self) -> None:
        """Raises InvalidFile for a fault of the model."""
        ...

    def constants(self) -> list[str]: ...


@runtime_checkable
class Hinting(Protocol):
    """A runner that knows something of how pictures become its model's input (``lib/model_inputs/hints.py``)."""

    def hints(self) -> dict[str, object]: ...


@runtime_checkable
class Referenced(Protocol):
    """A runner with a second, slow and independent implementation."""

    def run_reference(self, inputs: Arrays) -> Arrays: ...


def run(runner: Runner, inputs: Arrays, seconds: float) -> Arrays:
    """``runner.run`` with a time limit. Raises LimitExceeded.

    Python code is interrupted; a runtime of native code stops only where its runner can make it (``seconds``).
    """
    if hasattr(runner, "seconds"):
        runner.seconds = seconds
    try:
        with at_most(seconds + 5):  # a runner that stops by itself does so first
            return runner.run(inputs)
    except TooSlow:
        raise LimitExceeded("time of one run", f"{seconds:g} s") from None
