"""Runners: one module a format, same verbs. ``load`` finds the one for an artifact.

A runner is made from an artifact's folder (that is loading) and has ``signature()``, ``run(inputs)`` and
``close()``. It imports its framework inside its methods or at its module's top; nothing imports a runner's
module but ``load``, in the child process and the environment that can.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from lib.convert.formats import find
from lib.model_inputs.signature import Signature

Arrays = dict[str, np.ndarray]


class Runner(Protocol):
    """``__init__`` loads; raises InvalidFile for what is no such artifact."""

    def __init__(self, folder: Path) -> None: ...

    def signature(self) -> Signature: ...

    def run(self, inputs: Arrays) -> Arrays:
        """Every output by name. Raises JobFailed where the framework refuses these inputs."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Doubtful(Protocol):
    """A runner that can tell what a list of inputs leaves unseen of its model."""

    def doubts(self, cases: list[Arrays]) -> list[str]: ...


def load(format: str, folder: Path) -> Runner:
    """The runner of an artifact in ``folder``."""
    module, name = find(format).runner.split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)(folder)
