"""Where two ONNX graphs part: the first node whose output differs, with everything before it equal.

Tensors are paired by name; those whose names did not survive by the order of their nodes' operators. Small models
give all pairs in one run each; for others the pairs are bisected, a few tensors at a time, which takes a
difference to stay once it is there. What a graph computes is onnxruntime's answer; nothing here knows why it differs.
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
AT_ONCE = 1500  # tensors that one run may give
LIGHT = 200 << 20  # bytes of a model whose tensors are all given in one run
TOLERANCE = 1e-4  # of the range, above which an output counts as different
SILENT = {"Constant", "Identity"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of the source, its fellow in the target, and the target's node that makes it."""

    ours: str
    theirs: str
    node: NodeProto


def first(
    source: Path, target: Path, inputs: Arrays, tolerance: float = TOLERANCE, names: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """The node of ``target`` at which it parts from ``source``; None where nothing that can be compared differs.

    ``source`` and ``target`` are artifacts' folders, ``inputs`` the source's; ``names`` are those of inputs and
    outputs that are called otherwise in the target. The answer has ``node``, ``op``, ``output``,
    ``max_abs_error``, ``relative_error`` (of the source's range; None where shapes differ or a number is not
    finite in one only), and ``compared`` tensors. Raises InvalidFile for a bad artifact, JobFailed where
    onnxruntime refuses.
    """
    ours, theirs = (onnx_files.inlined(onnx_files.read(folder)) for folder in (source, target))
    renamed = names or {}
    pairs = paired(ours, theirs, renamed)
    if not pairs:
        return None
    probes = (_Probe(ours, inputs), _Probe(theirs, _as_taken(theirs, {renamed.get(k, k): v for k, v in inputs.items()})))
    light = max(ours.ByteSize(), theirs.ByteSize()) < LIGHT and len(pairs) <= AT_ONCE
    found = (_all if light else _bisected)(pairs, probes, tolerance, theirs)
    if found is None:
        return None
    pair, (largest, relative), compared = found
    return {
        "node": pair.node.name or pair.theirs,
        "op": pair.node.op_type,
        "output": pair.theirs,
        "max_abs_error": largest,
        "relative_error": relative,
        "compared": compared,
    }


def paired(ours: ModelProto, theirs: ModelProto, names: dict[str, str] | None = None) -> list[Pair]:
    """Pairs in the order of the target's nodes."""
    names = names or {}
    made = _made(ours)
    outputs = {b.name: names.get(a.name, a.name) for a, b in zip(ours.graph.output, ours.graph.output, strict=True)}
    back = {theirs_name: ours_name for ours_name, theirs_name in outputs.items()}
    taken: dict[str, str] = {}  # target's -> source's
    for name in _made(theirs):
        if (own := back.get(name, name)) in made and own not in taken.values():
            taken[name] = own
    left, right = ([n for n in m.graph.node if n.op_type not in SILENT and n.output] for m in (ours, theirs))
    used = set(taken.values())
    left = [n for n in left if n.output[0] not in used]
    right = [n for n in right if n.output[0] not in taken]
    matcher = SequenceMatcher(None, [n.op_type for n in left], [n.op_type for n in right], autojunk=False)
    for a, b, size in matcher.get_matching_blocks():
        taken |= {right[b + k].output[0]: left[a + k].output[0] for k in range(size)}
    return [Pair(taken[name], name, node) for name, node in _made(theirs).items() if name in taken]


def _made(model: ModelProto) -> dict[str, NodeProto]:
    """Tensors of the main graph and the nodes that make them, in order."""
    return {name: node for node in model.graph.node if node.op_type != "Constant" for name in node.output if name}


def _as_taken(model: ModelProto, inputs: Arrays) -> Arrays:
    """In the target's own dtypes: float16 where it takes float16."""
    from onnx.helper import tensor_dtype_to_np_dtype

    kinds = {v.name: tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    return {name: value.astype(kinds.get(name, value.dtype), copy=False) for name, value in inputs.items()}


class _Probe:
    """A model that gives any of its tensors."""

    def __init__(self, model: ModelProto, inputs: Arrays) -> None:
        taken = {v.name for v in model.graph.input}  # a target may have dropped an input that nothing used
        self._model, self._inputs = model, {name: value for name, value in inputs.items() if name in taken}
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
    """Of the pairs that differ, the first one that an output which differs depends on by way of others that do.

    A name may survive on another value (a fused layer takes its neighbour's); that difference ends where it began.
    """
    wanted = [p.ours for p in pairs], [p.theirs for p in pairs]
    a, b = probes[0](list(dict.fromkeys(wanted[0]))), probes[1](wanted[1])
    errors = {p.theirs: _error(b[p.theirs], a[p.ours]) for p in pairs}
    differ = {name: e for name, e in errors.items() if e is not None and _over(e, tolerance)}
    makers, by_output = _made(theirs), {p.theirs: p for p in pairs}
    todo = [v.name for v in probes[1]._outputs.values() if v.name in differ]
    reached = dict.fromkeys(todo)
    while todo:
        for name in makers[todo.pop()].input:
            # what could not be compared lets a difference through
            if name in makers and name not in reached and (name in differ or errors.get(name) is None):
                reached[name] = None
                todo.append(name)
    for pair in pairs:
        if pair.theirs in reached and pair.theirs in differ:
            return by_output[pair.theirs], differ[pair.theirs], sum(e is not None for e in errors.values())
    return None


def _bisected(
    pairs: list[Pair], probes: tuple[_Probe, _Probe], tolerance: float, theirs: ModelProto
) -> tuple[Pair, tuple[float | None, float | None], int] | None:
    """The first pair that differs, taken that all after it do: log2 of the number of pairs runs, two tensors each."""
    errors: dict[int, tuple[float | None, float | None] | None] = {}

    def differs(k: int) -> bool:
        errors[k] = _error(probes[1]([pairs[k].theirs])[pairs[k].theirs], probes[0]([pairs[k].ours])[pairs[k].ours])
        return errors[k] is not None and _over(errors[k], tolerance)  # type: ignore[arg-type]

    low, high = -1, len(pairs) - 1  # pairs up to low agree, the one at high differs
    if not differs(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if differs(middle) else (middle, high)
    found = errors[high]
    assert found is not None
    return pairs[high], found, sum(e is not None for e in errors.values())


def _over(error: tuple[float | None, float | None], tolerance: float) -> bool:
    return error[1] is None or error[1] > tolerance


def _error(ours: Any, expected: Any) -> tuple[float | None, float | None] | None:
    """(largest difference, that over the expected range); (None, None) for what differs beyond numbers.

    None where there is nothing to compare: no numbers, or quantised integers against floats.
    """
    if not (isinstance(ours, np.ndarray) and isinstance(expected, np.ndarray)):
        return None
    kinds = kind(ours), kind(expected)
    if "O" in kinds or (kinds[0] in "fc") != (kinds[1] in "fc"):
        return None
    if ours.shape != expected.shape:
        return None, None
    largest = float(absolute_error(expected, ours).max(initial=0.0))
    return (largest, largest / value_range(expected)) if np.isfinite(largest) else (None, None)
