"""Finds what an ONNX model's weights lose in float16: values above 65504 overflow, tiny ones lose their precision.

``find_losses`` runs before the conversion; ``messages_about`` reports the weights that were actually rounded. Constants
that stand for minus infinity before a softmax (attention masks) and Clip bounds can be clamped to 65504 without harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from lib.convert.formats.onnx.order import reads
from lib.convert.formats.onnx.tidy import graphs

HIGHEST = 65504.0  # largest finite float16
COARSE = 1e-2  # relative rounding error above which a subnormal float16 weight counts as lost
SMALL = 1e-3  # fraction of the tensor's peak; smaller values hardly matter
MASK = 1e4  # smallest magnitude of a constant that masks values before a softmax
THROUGH = set(  # operators that pass a mask on to its softmax
    """Add Sub Mul Where Unsqueeze Squeeze Expand Cast Reshape Transpose Slice Concat Identity Gather ConstantOfShape
    Trilu Tile Flatten Split ScatterND Min Max""".split()  # noqa: SIM905
)
BOUNDS = {"Clip", "Min", "Max", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal", "IsInf"}
ADDED = {"Add", "Sub", "Sum"} | BOUNDS  # readers for which a tiny value is as good as zero
NAME, SHOWN = 80, 3


@dataclass(frozen=True, slots=True)
class WeightLoss:
    """What the tensor ``name`` loses in float16. ``harmless``: the model's result does not change."""

    name: str
    text: str
    harmless: bool


def find_losses(model: ModelProto) -> list[WeightLoss]:
    """Returns the losses of all float32 initializers and constants, subgraphs included. ``model`` must be tidied."""
    losses: list[WeightLoss] = []
    readers = _readers(model)
    ends_in_softmax = _EndsInSoftmax(readers, {v.name for v in model.graph.output})
    for name, tensor in _tensors(model.graph):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        if value.size:
            reader_types = {node.op_type for node in readers[name]}
            losses += losses_of(
                name,
                value,
                masks=lambda n=name: ends_in_softmax(n),
                bounds=reader_types <= BOUNDS,
                added=reader_types <= ADDED,
            )
    return losses


def losses_of(name: str, value: np.ndarray, *, masks: Callable[[], bool], bounds: bool, added: bool) -> list[WeightLoss]:
    """Returns the loss of one tensor, if any.

    ``masks``: returns whether it only masks values before a softmax; ``bounds``: it is only used as a limit;
    ``added``: it is only added to other values.
    """
    size = np.abs(value)
    label = f"The weight {name[:NAME]!r} {list(value.shape)}"
    over = (size > HIGHEST) & np.isfinite(value)
    if over.any():
        worst = np.unravel_index(int(np.argmax(np.where(over, size, 0))), value.shape)
        position = f" at {[int(k) for k in worst]}" if value.ndim else ""
        text = f"{label} has {_count_text(over)} above float16's maximum, 65504, such as {value[worst]:.6g}{position}"
        if bounds:
            return [WeightLoss(name, f"{text}: only a bound, which float16 imposes anyway.", True)]
        if (size[over] >= MASK).all() and _two_valued(value) and masks():
            return [WeightLoss(name, f"{text}: it masks values before a softmax, and still does.", True)]
        return [WeightLoss(name, f"{text}, and was clipped to it.", False)]
    peak = float(np.max(size, where=np.isfinite(value), initial=0.0))
    tiny = (size > 0) & (size < 1e-5) & (size > SMALL * peak)
    if not tiny.any():
        return []
    with np.errstate(over="ignore", under="ignore"):
        lost = np.abs(value[tiny].astype(np.float16).astype(np.float32) - value[tiny]) > COARSE * size[tiny]
    if not lost.any():
        return []
    example = float(value[tiny][lost][0])
    text = f"{label} has {_count_text(lost)} near zero that float16 cannot represent, such as {example:.3g}"
    return [WeightLoss(name, f"{text}: they are only added to larger ones." if added else f"{text}.", added)]


def messages_about(found: list[WeightLoss], rounded: set[str]) -> tuple[list[str], list[str]]:
    """Returns (warnings, messages): harmful and harmless losses of the tensors in ``rounded``, the first few of each."""
    lost = [t.text for t in found if t.name in rounded and not t.harmless]
    messages = [t.text for t in found if t.name in rounded and t.harmless]
    return _first_few(lost), _first_few(messages)


def rounded(model: ModelProto) -> set[str]:
    """Returns the names of float16 initializers and constants."""
    return {name for name, tensor in _tensors(model.graph) if tensor.data_type == TensorProto.FLOAT16}


def values_behind_masks(model: ModelProto) -> set[str]:
    """Returns the values that carry an attention mask: they are large only because of the mask."""
    readers = _readers(model)
    ends_in_softmax = _EndsInSoftmax(readers, {v.name for v in model.graph.output})
    masked: set[str] = set()
    for name, tensor in _tensors(model.graph):
        if tensor.data_type == TensorProto.FLOAT:
            value = numpy_helper.to_array(tensor)
            if value.size and np.abs(value).max() >= MASK and _two_valued(value) and ends_in_softmax(name):
                masked |= ends_in_softmax.path(name)
    return masked


def _count_text(which: np.ndarray) -> str:
    count = int(which.sum())
    return f"{count:,} numbers" if count > 1 else "a number"


def _first_few(sentences: list[str]) -> list[str]:
    remainder = [f"The same holds for {len(sentences) - SHOWN} more weights."] if len(sentences) > SHOWN else []
    return sentences[:SHOWN] + remainder


def _two_valued(value: np.ndarray) -> bool:
    """Returns whether the array holds at most one distinct non-zero value."""
    return len(np.setdiff1d(np.unique(value), [0])) <= 1


def _tensors(graph: GraphProto) -> Iterator[tuple[str, TensorProto]]:
    """Yields (value name, tensor) for initializers and for tensor attributes such as a Constant's."""
    for scope in graphs(graph):
        for tensor in scope.initializer:
            yield tensor.name, tensor
        for node in scope.node:
            for a in node.attribute:
                if a.HasField("t") and node.output:
                    yield node.output[0], a.t


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    readers = defaultdict(list)
    for graph in graphs(model.graph):
        for node in graph.node:
            for name in set(node.input):
                readers[name].append(node)
    return readers


class _EndsInSoftmax:
    """Checks whether every path from a value ends in a Softmax or ArgMax, where a large negative input has no effect."""

    def __init__(self, readers: dict[str, list[NodeProto]], results: set[str]) -> None:
        self._readers, self._results = readers, results

    def __call__(self, name: str) -> bool:
        return self._walk(name)[0]

    def path(self, name: str) -> set[str]:
        """Returns ``name`` and the values it passes through on the way to its softmax."""
        return self._walk(name)[1]

    def _walk(self, name: str) -> tuple[bool, set[str]]:
        pending, seen = [name], {name}
        while pending:
            current = pending.pop()
            if current in self._results or not self._readers[current]:
                return False, seen
            for node in self._readers[current]:
                if node.op_type in ("Softmax", "ArgMax"):
                    continue
                if node.op_type not in THROUGH or any(name not in node.input for name in reads(node)):
                    return False, seen
                for output in node.output:
                    if output and output not in seen:
                        seen.add(output)
                        pending.append(output)
        return True, seen
