"""Interface of runners. Each format has one in its own module; ``load`` finds the one for an artifact.

A runner loads an artifact's folder and has ``signature()``, ``run(inputs)`` and ``close()``. Its module may import its
framework, because only ``load`` imports it, in a child process of the right environment.
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
    """Runs an artifact. ``__init__`` loads it and raises InvalidFile if it is damaged or has another format."""

    def __init__(self, folder: Path) -> None: ...

    def signature(self) -> Signature: ...

    def run(self, inputs: Arrays) -> Arrays:
        """Return all outputs by name. Raises JobFailed if the framework rejects the inputs."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class CoverageChecked(Protocol):
    """A runner that can report which parts of its model are not covered by a list of inputs."""

    def blind_spots(self, cases: list[Arrays]) -> list[str]: ...


@runtime_checkable
class Checked(Protocol):
    """A runner that can validate its model before a run and list the outputs that depend on no input."""

    def check(self) -> None:
        """Raise InvalidFile if the model is invalid."""
        ...

    def constants(self) -> list[str]: ...


@runtime_checkable
class Hinting(Protocol):
    """A runner that has hints on the preprocessing of pictures for its model (``lib/model_inputs/hints.py``)."""

    def hints(self) -> dict[str, object]: ...


@runtime_checkable
class Referenced(Protocol):
    """A runner with a second, independent and slow implementation."""

    def run_reference(self, inputs: Arrays) -> Arrays: ...


def run(runner: Runner, inputs: Arrays, seconds: float) -> Arrays:
    """Call ``runner.run`` with a time limit in seconds. Raises LimitExceeded.

    Python code is interrupted. Native code only stops if its runner supports it with an attribute ``seconds``.
    """
    if hasattr(runner, "seconds"):
        runner.seconds = seconds
    try:
        with at_most(seconds + 5):  # runners with their own limit stop first
            return runner.run(inputs)
    except TooSlow:
        raise LimitExceeded("time of one run", f"{seconds:g} s") from None
