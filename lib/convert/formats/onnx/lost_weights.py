"""What an ONNX model's weights lose in float16: numbers over 65504, and tensors of numbers close to 0.

``find_losses`` runs before the conversion; ``messages_about`` reports the weights that were really rounded. Constants that
stand for minus infinity before a softmax (attention masks) and bounds of a Clip can be cut to 65504 without harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from lib.convert.formats.onnx.order import reads
from lib.convert.formats.onnx.tidy import graphs

HIGHEST = 65504.0  # of float16
COARSE = 1e-2  # relative: what a weight may be off by its few bits in float16
SMALL = 1e-3  # of the tensor's largest: what is smaller than that hardly matters
MASK = 1e4  # a constant that hides a value from a softmax is at least this large
THROUGH = set(  # a mask is carried through these to its softmax
    """Add Sub Mul Where Unsqueeze Squeeze Expand Cast Reshape Transpose Slice Concat Identity Gather ConstantOfShape
    Trilu Tile Flatten Split ScatterND Min Max""".split()  # noqa: SIM905
)
BOUNDS = {"Clip", "Min", "Max", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal", "IsInf"}
ADDED = {"Add", "Sub", "Sum"} | BOUNDS  # here a number near nothing is nothing
NAME, SHOWN = 80, 3


@dataclass(frozen=True, slots=True)
class WeightLoss:
    """What the tensor ``name`` loses in float16. ``harmless``: the result does not change; a message is enough."""

    name: str
    text: str
    harmless: bool


def find_losses(model: ModelProto) -> list[WeightLoss]:
    """Of float32 initializers and constants, subgraphs included. ``model`` is tidy."""
    out: list[WeightLoss] = []
    readers = _readers(model)
    ends_in_softmax = _EndsInSoftmax(readers, {v.name for v in model.graph.output})
    for name, tensor in _tensors(model.graph):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        if value.size:
            kinds = {node.op_type for node in readers[name]}
            out += losses_of(
                name, value, masks=lambda n=name: ends_in_softmax(n), bounds=kinds <= BOUNDS, added=kinds <= ADDED
            )
    return out


def losses_of(name: str, value: np.ndarray, *, masks: Callable[[], bool], bounds: bool, added: bool) -> list[WeightLoss]:
    """``masks``: whether it only hides values from a softmax; ``bounds``: only limits; ``added``: only added to others."""
    size = np.abs(value)
    called = f"The weight {name[:NAME]!r} {list(value.shape)}"
    over = (size > HIGHEST) & np.isfinite(value)
    if over.any():
        worst = np.unravel_index(int(np.argmax(np.where(over, size, 0))), value.shape)
        where = f" at {[int(k) for k in worst]}" if value.ndim else ""
        text = f"{called} has {_count_text(over)} over float16's largest, 65504, such as {value[worst]:.6g}{where}"
        if bounds:
            return [WeightLoss(name, f"{text}: a bound that float16 has anyway.", True)]
        if (size[over] >= MASK).all() and _two_valued(value) and masks():
            return [WeightLoss(name, f"{text}: it hides values from a softmax, and still does.", True)]
        return [WeightLoss(name, f"{text}, and was cut to it.", False)]
    peak = float(np.max(size, where=np.isfinite(value), initial=0.0))
    tiny = (size > 0) & (size < 1e-5) & (size > SMALL * peak)
    if not tiny.any():
        return []
    with np.errstate(over="ignore", under="ignore"):
        off = np.abs(value[tiny].astype(np.float16).astype(np.float32) - value[tiny]) > COARSE * size[tiny]
    if not off.any():
        return []
    one = float(value[tiny][off][0])
    text = f"{called} has {_count_text(off)} near nothing that float16 does not hold, such as {one:.3g}"
    return [WeightLoss(name, f"{text}: they are only added to larger ones." if added else f"{text}.", added)]


def messages_about(found: list[WeightLoss], rounded: set[str]) -> tuple[list[str], list[str]]:
    """(lost, messages) about those of ``found`` that are in ``rounded``, the worst few of each."""
    lost = [t.text for t in found if t.name in rounded and not t.harmless]
    messages = [t.text for t in found if t.name in rounded and t.harmless]
    return _first_few(lost), _first_few(messages)


def rounded(model: ModelProto) -> set[str]:
    """Names of initializers and constants that are float16."""
    return {name for name, tensor in _tensors(model.graph) if tensor.data_type == TensorProto.FLOAT16}


def values_behind_masks(model: ModelProto) -> set[str]:
    """Values that are as large as they are because a mask is in them: their size says nothing of the model's numbers."""
    readers = _readers(model)
    ends_in_softmax = _EndsInSoftmax(readers, {v.name for v in model.graph.output})
    found: set[str] = set()
    for name, tensor in _tensors(model.graph):
        if tensor.data_type == TensorProto.FLOAT:
            value = numpy_helper.to_array(tensor)
            if value.size and np.abs(value).max() >= MASK and _two_valued(value) and ends_in_softmax(name):
                found |= ends_in_softmax.path(name)
    return found


def _count_text(which: np.ndarray) -> str:
    count = int(which.sum())
    return f"{count:,} numbers" if count > 1 else "a number"


def _first_few(sentences: list[str]) -> list[str]:
    more = [f"{len(sentences) - SHOWN} more weights are like that."] if len(sentences) > SHOWN else []
    return sentences[:SHOWN] + more


def _two_valued(value: np.ndarray) -> bool:
    """One number, or 0 and one number."""
    return len(np.setdiff1d(np.unique(value), [0])) <= 1


def _tensors(graph: GraphProto) -> Iterator[tuple[str, TensorProto]]:
    """By the name of the value that has them."""
    for one in graphs(graph):
        for tensor in one.initializer:
            yield tensor.name, tensor
        for node in one.node:
            for a in node.attribute:
                if a.HasField("t") and node.output:
                    yield node.output[0], a.t


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    found = defaultdict(list)
    for graph in graphs(model.graph):
        for node in graph.node:
            for name in set(node.input):
                found[name].append(node)
    return found


class _EndsInSoftmax:
    """Whether all that a value reaches ends in a softmax (or an argmax), where a very negative number is no number."""

    def __init__(self, readers: dict[str, list[NodeProto]], results: set[str]) -> None:
        self._readers, self._results = readers, results

    def __call__(self, name: str) -> bool:
        return self._walk(name)[0]

    def path(self, name: str) -> set[str]:
        return self._walk(name)[1]

    def _walk(self, name: str) -> tuple[bool, set[str]]:
        todo, seen = [name], {name}
        while todo:
            one = todo.pop()
            if one in self._results or not self._readers[one]:
                return False, seen
            for node in self._readers[one]:
                if node.op_type in ("Softmax", "ArgMax"):
                    continue
                if node.op_type not in THROUGH or any(name not in node.input for name in reads(node)):
                    return False, seen
                for made in node.output:
                    if made and made not in seen:
                        seen.add(made)
                        todo.append(made)
        return True, seen
