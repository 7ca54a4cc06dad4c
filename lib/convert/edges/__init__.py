"""The registry of edges: every module in this folder with a decorated function is a conversion.

An edge reads one artifact's folder and writes the next artifact to another folder. Modules here import frameworks only
inside their functions, so that the app's own process can read the table without loading any.

Besides its own options, an edge receives

- ``sizes``: sizes of dynamic dimensions, by the names of the route's source, for dimensions that it must fix
- ``case_sizes``: the largest size of each that the proof will try; a bound must not be smaller
- ``samples``: a folder of real inputs (``lib/model_inputs/stored.py``) under the names of its own source, or None
- ``min_agreement``: share of top classes to keep, 0 to 1

and may return a dict with

- ``messages``: sentences for the user
- ``inputs``, ``outputs``: old name -> new name, for renamed ones
- ``fixed``, ``limits``: dynamic dimension -> its fixed size, or its upper bound
- ``blind_spots``: what the proof's inputs cannot test; ``lost``: what the tool is known to lose. Either prevents the
  verdict ``proven``
- ``unchanged``: why the conversion changed nothing that its name promises; the job then fails with this sentence
- ``precision``, ``tool``: if they differ from the table's
- ``chosen``: how the model was quantised; ``layers``: what each layer costs
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.formats import APP, find
from lib.convert.proof.tolerances import PRECISIONS

Progress = Callable[..., None]
Run = Callable[[Progress, Path, Path, dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A conversion. ``seconds`` and ``error`` (largest difference / output range) are typical of a small model.

    ``needs``: modules that must be importable in the app's own environment; an edge with another ``environment`` runs
    there instead.
    """

    source: str
    target: str
    tool: str
    precision: str
    seconds: float
    error: float
    run: str  # module:function
    environment: str = APP
    needs: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    note: str = ""  # for the user: what this edge does to the model (fixes the batch, …)

    def missing(self) -> str:
        """Returns why this edge cannot run in this installation and how to fix that; "" if it can."""
        if self.environment != APP:
            from lib.convert import environments

            return environments.missing(self.environment)
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}; pip install -r requirements.txt" if absent else ""


_EDGES: dict[tuple[str, str], Edge] = {}


def edge(source: str, target: str, **given: Any) -> Callable[[Run], Run]:
    """Registers the decorated function as the edge from ``source`` to ``target``. Raises ValueError for a duplicate."""
    for name in (source, target):
        find(name)
    if given["precision"] not in PRECISIONS:
        raise ValueError(f"precision {given['precision']!r} of {source} -> {target}; allowed: {PRECISIONS}")

    def register(function: Run) -> Run:
        if (source, target) in _EDGES:
            raise ValueError(f"a second edge {source} -> {target}: {function.__module__}")
        run = f"{function.__module__}:{function.__name__}"
        _EDGES[source, target] = Edge(source=source, target=target, run=run, **given)
        return function

    return register


@cache
def edges() -> dict[tuple[str, str], Edge]:
    """Returns every edge by (source, target)."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return dict(_EDGES)
