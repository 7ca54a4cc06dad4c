"""The sizes of dynamic dimensions, and what every tensor of the first graph then measures: asked of the runtime itself.

The shapes that a file states are often only placeholders of 1, so the interpreter plans the graph. Where operators
compute sizes while they run, it is run once on zeros; where that fails, those shapes stay unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile
from lib.model_inputs import sizes as sizes_
from lib.model_inputs.signature import Signature
from lib.onnx_model.words import clean
from lib.reports.words import note
from lib.tflite.runner import UNKNOWN
from lib.tflite.signatures import SignatureGraph, described, parts
from lib.tflite_inspect.graph import Shapes, declared

MAX_RUN = 256 << 20  # bytes of a file that is run for its shapes
BY_RUN = "Some shapes are computed at run time; these are from one run on zeros."


@dataclass(slots=True)
class Measured:
    """``refused``: the runtime's words, "" where it plans the graph; else the shapes are those that the file states.
    ``failed``: its words where it plans the graph, and a run on zeros fails."""

    shapes: Shapes
    sizes: dict[str, int] = field(default_factory=dict)
    note: str = ""
    refused: str = ""
    failed: str = ""


def signature(model: dict[str, Any]) -> Signature | None:
    """None where an input or output is no plain tensor."""
    try:
        return described(model)
    except InvalidFile:
        return None


def measured(path: Path, model: dict[str, Any], given: dict[str, int]) -> Measured:
    """At ``given`` sizes, and plausible ones for other dimensions; at sizes that it takes where it refuses those.

    Raises InvalidValue for a size of what is no free dimension.
    """
    takes = signature(model) or Signature()
    sizes_.check(given, takes)
    chosen = sizes_.propose(takes) | given if takes.symbols() else {}
    plan = _Plan(path, model, takes)
    why = plan.refusal(chosen)
    said = note(chosen, given)
    if why and plan.loaded and takes.symbols() and takes.symbols() != tuple(given):
        found = sizes_.search(takes, given, plan.refusal)
        if found.accepted:
            chosen, said, why = found.sizes, found.note, plan.refusal(found.sizes)
    if why:
        return Measured(declared(model, 0), chosen, said, why)
    out = Measured(plan.shapes(), chosen, said)
    if None in out.shapes.values() and path.stat().st_size <= MAX_RUN:
        why = plan.failure()
        if UNKNOWN.search(why):
            out.refused = why
        elif why:
            out.failed = why
        else:
            out.shapes, out.note = plan.shapes(planned=True), f"{said} {BY_RUN}".strip()
    return out


class _Plan:
    """The interpreter without its accelerated kernels, which would hide tensors; ``loaded`` is False where it refuses the
    file."""

    def __init__(self, path: Path, model: dict[str, Any], takes: Signature) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._model, self._values = model, {v.name: v for v in takes.inputs}
        self._parts: list[SignatureGraph] = [p for p in parts(model) if p.graph == 0] if takes.inputs else []
        self.loaded, self._why = True, ""
        try:
            how = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            self._interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=how, num_threads=1)
        except (ValueError, RuntimeError) as error:
            self.loaded, self._why = False, clean(str(error))

    def refusal(self, sizes: dict[str, int]) -> str:
        if not self.loaded:
            return self._why
        try:
            for part in self._parts:
                for name, index in part.inputs.items():
                    shape = [sizes[d] if isinstance(d, str) else d for d in self._values[name].shape]
                    self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            return clean(str(error))
        return ""

    def failure(self) -> str:
        """Runs it on zeros; "" or the runtime's words."""
        try:
            for one in self._interpreter.get_input_details():
                self._interpreter.set_tensor(one["index"], np.zeros(one["shape"], one["dtype"]))
            self._interpreter.invoke()
        except (ValueError, RuntimeError, TypeError) as error:  # an input of text is a TypeError
            return clean(str(error))
        return ""

    def shapes(self, planned: bool = False) -> Shapes:
        """None for what an operator makes of a size that it computes while it runs: that has no memory yet."""
        found: Shapes = {d["index"]: tuple(int(n) for n in d["shape"]) for d in self._interpreter.get_tensor_details()}
        known: Shapes = {k: found.get(k, stated) for k, stated in declared(self._model, 0).items()}
        for operator in self._model["subgraphs"][0]["operators"]:
            for number in operator["outputs"].tolist():
                if number >= 0 and not planned and not self._planned(number):
                    known[number] = None
        return known

    def _planned(self, number: int) -> bool:
        try:
            self._interpreter.tensor(number)()
        except (ValueError, RuntimeError):
            return False
        return True
