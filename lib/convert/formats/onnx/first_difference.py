"""Finds where two ONNX graphs diverge: the first node whose output differs while everything before it agrees.

Tensors are paired by name, and those that were renamed by aligning the sequences of operator types. Small models
return all tensors in one run; for larger ones the pairs are bisected, which assumes that a difference persists
downstream. Both graphs run in onnxruntime; the cause of a difference is not analysed.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, ValueInfoProto

from lib.convert.formats.onnx import files as onnx_files
from lib.error_measures import absolute_error, kind, value_range
from lib.errors import JobFailed
from lib.onnx_model.runtime import CPU, options, ready
from lib.onnx_model.words import clean

Arrays = dict[str, np.ndarray]
AT_ONCE = 1500  # most tensors fetched in one run
LIGHT = 200 << 20  # bytes; below this model size, all tensors are fetched in one run
TOLERANCE = 1e-4  # fraction of the value range above which a tensor counts as different
SILENT = {"Constant", "Identity"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A source tensor, its counterpart in the target, and the target node that produces it."""

    ours: str
    theirs: str
    node: NodeProto


def first(
    source: Path, target: Path, inputs: Arrays, tolerance: float = TOLERANCE, names: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """Returns the node of ``target`` where it diverges from ``source``; None if no comparable tensor differs.

    ``source`` and ``target`` are artifact folders, ``inputs`` are the source's inputs, and ``names`` maps source
    names of inputs and outputs to their target names where they differ. The result has ``node``, ``op``, ``output``,
    ``max_abs_error``, ``relative_error`` (relative to the source's value range) and ``compared``, the number of
    tensors compared. Both errors are None if the shapes differ or the difference is not finite. Raises InvalidFile
    for a bad artifact, JobFailed if onnxruntime rejects a model or its inputs.
    """
    ours, theirs = (onnx_files.inlined(onnx_files.read(folder)) for folder in (source, target))
    renamed = names or {}
    pairs = paired(ours, theirs, renamed)
    if not pairs:
        return None
    probes = (_Probe(ours, inputs), _Probe(theirs, _as_taken(theirs, {renamed.get(k, k): v for k, v in inputs.items()})))
    light = max(ours.ByteSize(), theirs.ByteSize()) < LIGHT and len(pairs) <= AT_ONCE
    difference = (_all if light else _bisected)(pairs, probes, tolerance, theirs)
    if difference is None:
        return None
    pair, (largest, relative), compared = difference
    return {
        "node": pair.node.name or pair.theirs,
        "op": pair.node.op_type,
        "output": pair.theirs,
        "max_abs_error": largest,
        "relative_error": relative,
        "compared": compared,
    }


def paired(ours: ModelProto, theirs: ModelProto, names: dict[str, str] | None = None) -> list[Pair]:
    """Pairs the tensors of both models, in the order of the target's nodes."""
    names = names or {}
    producers = _made(ours)
    source_names = {names.get(output.name, output.name): output.name for output in ours.graph.output}
    matched: dict[str, str] = {}  # target's -> source's
    for name in _made(theirs):
        if (source_name := source_names.get(name, name)) in producers and source_name not in matched.values():
            matched[name] = source_name
    left, right = ([n for n in m.graph.node if n.op_type not in SILENT and n.output] for m in (ours, theirs))
    used_sources = set(matched.values())
    left = [n for n in left if n.output[0] not in used_sources]
    right = [n for n in right if n.output[0] not in matched]
    matcher = SequenceMatcher(None, [n.op_type for n in left], [n.op_type for n in right], autojunk=False)
    for a, b, size in matcher.get_matching_blocks():
        matched |= {right[b + k].output[0]: left[a + k].output[0] for k in range(size)}
    return [Pair(matched[name], name, node) for name, node in _made(theirs).items() if name in matched]


def _made(model: ModelProto) -> dict[str, NodeProto]:
    """Maps each tensor of the main graph to its producing node, in graph order; Constants are left out."""
    return {name: node for node in model.graph.node if node.op_type != "Constant" for name in node.output if name}


def _as_taken(model: ModelProto, inputs: Arrays) -> Arrays:
    """Casts the inputs to the dtypes that ``model`` declares, such as float16."""
    from onnx.helper import tensor_dtype_to_np_dtype

    dtypes = {v.name: tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    return {name: value.astype(dtypes.get(name, value.dtype), copy=False) for name, value in inputs.items()}


class _Probe:
    """Runs a model and returns any of its tensors by name."""

    def __init__(self, model: ModelProto, inputs: Arrays) -> None:
        input_names = {v.name for v in model.graph.input}  # the target may have dropped an unused input
        self._model, self._inputs = model, {name: value for name, value in inputs.items() if name in input_names}
        self._outputs = {v.name: v for v in model.graph.output}

    def __call__(self, names: list[str]) -> Arrays:
        import tempfile

        del self._model.graph.output[:]
        self._model.graph.output.extend(self._outputs.get(n) or ValueInfoProto(name=n) for n in names)
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / onnx_files.NAME
                onnx_files.save(self._model, path)
                session = onnxruntime.InferenceSession(str(path), options(), providers=CPU)
            return dict(zip(names, ready(session, self._inputs)(), strict=True))
        except Exception as error:  # onnxruntime's errors share no public base class
            raise JobFailed(f"onnxruntime refused: {clean(str(error))}") from None


def _all(
    pairs: list[Pair], probes: tuple[_Probe, _Probe], tolerance: float, theirs: ModelProto
) -> tuple[Pair, tuple[float | None, float | None], int] | None:
    """Returns the first differing pair from which differences propagate to a differing output.

    A name may survive on another value (a fused layer takes its neighbour's name); such a difference does not
    propagate, so it is ignored.
    """
    names = [p.ours for p in pairs], [p.theirs for p in pairs]
    a, b = probes[0](list(dict.fromkeys(names[0]))), probes[1](names[1])
    errors = {p.theirs: _error(b[p.theirs], a[p.ours]) for p in pairs}
    differ = {name: e for name, e in errors.items() if e is not None and _over(e, tolerance)}
    producers, by_output = _made(theirs), {p.theirs: p for p in pairs}
    pending = [v.name for v in probes[1]._outputs.values() if v.name in differ]
    reached = dict.fromkeys(pending)
    while pending:
        for name in producers[pending.pop()].input:
            # a difference may pass through tensors that cannot be compared
            if name in producers and name not in reached and (name in differ or errors.get(name) is None):
                reached[name] = None
                pending.append(name)
    for pair in pairs:
        if pair.theirs in reached and pair.theirs in differ:
            return by_output[pair.theirs], differ[pair.theirs], sum(e is not None for e in errors.values())
    return None


def _bisected(
    pairs: list[Pair], probes: tuple[_Probe, _Probe], tolerance: float, theirs: ModelProto
) -> tuple[Pair, tuple[float | None, float | None], int] | None:
    """Bisects for the first differing pair, assuming all later pairs differ too: log2(pairs) runs of two tensors."""
    errors: dict[int, tuple[float | None, float | None] | None] = {}

    def differs(k: int) -> bool:
        errors[k] = _error(probes[1]([pairs[k].theirs])[pairs[k].theirs], probes[0]([pairs[k].ours])[pairs[k].ours])
        return errors[k] is not None and _over(errors[k], tolerance)  # type: ignore[arg-type]

    low, high = -1, len(pairs) - 1  # invariant: pairs up to low agree, the pair at high differs
    if not differs(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if differs(middle) else (middle, high)
    error = errors[high]
    assert error is not None
    return pairs[high], error, sum(e is not None for e in errors.values())


def _over(error: tuple[float | None, float | None], tolerance: float) -> bool:
    return error[1] is None or error[1] > tolerance


def _error(ours: Any, expected: Any) -> tuple[float | None, float | None] | None:
    """Returns (max absolute error, the same relative to the expected range).

    (None, None) if the shapes differ or the error is not finite; None if the values are not comparable: not
    numeric, or quantised integers against floats.
    """
    if not (isinstance(ours, np.ndarray) and isinstance(expected, np.ndarray)):
        return None
    dtype_kinds = kind(ours), kind(expected)
    if "O" in dtype_kinds or (dtype_kinds[0] in "fc") != (dtype_kinds[1] in "fc"):
        return None
    if ours.shape != expected.shape:
        return None, None
    largest = float(absolute_error(expected, ours).max(initial=0.0))
    return (largest, largest / value_range(expected)) if np.isfinite(largest) else (None, None)
