"""The registry of edges: a file in this folder with a decorated function is a conversion.

An edge takes an artifact's folder and writes the next artifact into another folder. Modules here import
frameworks only inside their functions: the app's own process reads the table and loads nothing.

Beside its own options an edge is given ``sizes`` (of dynamic dimensions, by the names of the route's source: where it
must fix one, it takes that), ``case_sizes`` (the largest of each that the proof will try: where it must bound one, it
takes no less), ``samples`` (a folder of real inputs, ``lib/model_inputs/stored.py``, under the names of its own source;
None where there are none) and ``min_agreement`` (0 to 1). It may answer a dict with:

- ``messages``: what a visitor should know;
- ``inputs``, ``outputs``: old name -> new name, where it renames;
- ``fixed``, ``limits``: dynamic dimension -> the size it has now, or may have at most;
- ``blind_spots``: what the proof's inputs cannot show; ``lost``: what the tool is known to lose. Either keeps the
  verdict from being ``proven``;
- ``unchanged``: a sentence, where the conversion changed nothing that its name promises: it is refused with it;
- ``precision``, ``tool``: where they are not those of the table;
- ``chosen``: how it was quantised, ``layers``: what each layer costs.
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
    """``seconds`` and ``error`` (largest difference / output range) are what a small model usually takes and makes.

    ``needs`` are modules that must be importable in the app's own environment; an edge with another
    ``environment`` runs in that one instead.
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
    note: str = ""  # for the visitor: what this edge does to the model (fixes the batch, …)

    def missing(self) -> str:
        """Why this edge cannot run in this installation, and what would help; "" when it can."""
        if self.environment != APP:
            from lib.convert import environments

            return environments.missing(self.environment)
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}; pip install -r requirements.txt" if absent else ""


_EDGES: dict[tuple[str, str], Edge] = {}


def edge(source: str, target: str, **given: Any) -> Callable[[Run], Run]:
    """Registers the decorated function as the edge from ``source`` to ``target``. Raises ValueError for a second one."""
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
    """Every edge by (source, target)."""
    for found in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(found.name)
    return dict(_EDGES)
