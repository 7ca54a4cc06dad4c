"""Multiply-accumulates of an operator, by its tensors' shapes. What cannot be counted says why; it is never taken for 0.

By the convention of the field, element-wise work, pooling, softmax and moves have none. Formulas: a convolution does
kernel height x width x input channels for each element of its output; a product as many as its shared dimension.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from lib.tflite_inspect.graph import Node, Shape, Shapes, graph_name, nodes

MAX_COUNT = 1 << 62  # JSON readers have 64 bits
MAX_DEPTH = 16  # graphs that run graphs
UNKNOWN_SHAPE = "its shapes are not known before a run"
Formula = Callable[[list[Shape | None], Shape], int | None]
FORMULAS: dict[str, Formula] = {}
# work on products whose amount has no formula here
NOT_COUNTED = {
    *("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "RNN", "SVDF", "RFFT2D", "CONCAT_EMBEDDINGS"),
    *(
        "LSH_PROJECTION",
        "EMBEDDING_LOOKUP_SPARSE",
        "STABLEHLO_CONVOLUTION",
        "STABLEHLO_DOT_GENERAL",
        "STABLEHLO_CUSTOM_CALL",
    ),
    *(
        "STABLEHLO_REDUCE",
        "STABLEHLO_REDUCE_WINDOW",
        "STABLEHLO_SCATTER",
        "STABLEHLO_WHILE",
        "STABLEHLO_CASE",
        "REDUCE_WINDOW",
    ),
}


@dataclass(slots=True)
class Cost:
    """``macs`` None: not counted, for ``reason``. ``by`` splits them over the operators that do them;
    ``not_counted``: (operator, reason) -> nodes that are left out of ``macs``."""

    macs: int | None
    reason: str = ""
    by: Counter[str] = field(default_factory=Counter)
    not_counted: Counter[tuple[str, str]] = field(default_factory=Counter)


def formula(name: str) -> Callable[[Formula], Formula]:
    def add(function: Formula) -> Formula:
        assert name not in FORMULAS
        FORMULAS[name] = function
        return function

    return add


@formula("CONV_2D")
def _conv(inputs: list[Shape | None], output: Shape) -> int | None:
    weight = inputs[1]  # [outputs, height, width, inputs of a group]
    return prod(output) * prod(weight[1:]) if weight and len(weight) == 4 else None


@formula("DEPTHWISE_CONV_2D")
def _depthwise(inputs: list[Shape | None], output: Shape) -> int | None:
    weight = inputs[1]  # [1, height, width, outputs]
    return prod(output) * prod(weight[1:3]) if weight and len(weight) == 4 else None


@formula("CONV_3D")
def _conv3(inputs: list[Shape | None], output: Shape) -> int | None:
    weight = inputs[1]  # [depth, height, width, inputs, outputs]
    return prod(output) * prod(weight[:4]) if weight and len(weight) == 5 else None


@formula("TRANSPOSE_CONV")
def _transposed(inputs: list[Shape | None], output: Shape) -> int | None:
    weight, x = inputs[1], inputs[2]  # [outputs, height, width, inputs]: each element of x goes to all of them
    return prod(x) * prod(weight[:3]) if weight and x and len(weight) == 4 else None


@formula("CONV_3D_TRANSPOSE")
def _transposed3(inputs: list[Shape | None], output: Shape) -> int | None:
    weight, x = inputs[1], inputs[2]  # [depth, height, width, outputs, inputs]
    return prod(x) * prod(weight[:4]) if weight and x and len(weight) == 5 else None


@formula("FULLY_CONNECTED")
def _dense(inputs: list[Shape | None], output: Shape) -> int | None:
    weight = inputs[1]  # [outputs, inputs]
    return prod(output) * weight[1] if weight and len(weight) == 2 else None


@formula("BATCH_MATMUL")
def _product(inputs: list[Shape | None], output: Shape) -> int | None:
    x = inputs[0]  # [..., rows, shared], or the other way round where it is taken transposed
    if not x or len(x) < 2 or len(output) < 2:
        return None
    return prod(output) * (x[-1] if x[-2] == output[-2] else x[-2])


@formula("UNIDIRECTIONAL_SEQUENCE_LSTM")
def _lstm(inputs: list[Shape | None], output: Shape) -> int | None:
    x, weights = inputs[0], [w for w in (*inputs[1:9], *inputs[16:17]) if w and len(w) == 2]
    return prod(x[:2]) * sum(map(prod, weights)) if x and len(x) == 3 and weights else None


@formula("LSTM")
def _lstm_step(inputs: list[Shape | None], output: Shape) -> int | None:
    x, weights = inputs[0], [w for w in (*inputs[1:9], *inputs[16:17]) if w and len(w) == 2]
    return x[0] * sum(map(prod, weights)) if x and len(x) == 2 and weights else None


@formula("UNIDIRECTIONAL_SEQUENCE_RNN")
def _rnn(inputs: list[Shape | None], output: Shape) -> int | None:
    x, weights = inputs[0], [w for w in inputs[1:3] if w]
    return prod(x[:2]) * sum(map(prod, weights)) if x and len(x) == 3 and len(weights) == 2 else None


def cost(model: dict[str, Any], node: Node, shapes: Shapes, inside: Callable[[int], Cost]) -> Cost:
    """``inside``: what one pass of another graph costs."""
    if node.bodies:
        return _body(model, node, inside)
    if node.custom:
        return _not_counted(node, "a custom operator: only its author knows what it computes")
    if node.operator.startswith("unknown operator"):
        return _not_counted(node, "an operator newer than this runtime")
    if node.operator in NOT_COUNTED:
        return _not_counted(node, "no formula for this operator")
    if node.operator not in FORMULAS:
        return Cost(0)
    inputs = [shapes.get(t) if t >= 0 else None for t in node.inputs]
    output = shapes.get(node.outputs[0]) if node.outputs else None
    try:
        found = None if output is None else FORMULAS[node.operator](inputs, output)
    except IndexError:  # a damaged operator with fewer inputs than it needs
        found = None
    if found is None:
        return _not_counted(node, UNKNOWN_SHAPE)
    if found > MAX_COUNT:
        return _not_counted(node, "too many to count")
    return Cost(found, by=Counter({node.operator: found}))


def _not_counted(node: Node, reason: str) -> Cost:
    return Cost(None, reason, not_counted=Counter({(node.operator, reason): 1}))


def _body(model: dict[str, Any], node: Node, inside: Callable[[int], Cost]) -> Cost:
    passes = [inside(body) for body in node.bodies]
    if node.operator == "WHILE":
        once = sum(one.macs or 0 for one in passes)
        reason = f"its body ({once:,} MACs per pass) runs an unknown number of times"
        if once or any(one.not_counted for one in passes):
            return _not_counted(node, reason)
        return Cost(0)
    largest = max(passes, key=lambda one: one.macs or 0)  # of an IF, only one runs
    left = sum((one.not_counted for one in passes), Counter())
    reason = f"without the uncounted operators of {graph_name(model, node.bodies[0])}" if left else ""
    return Cost(largest.macs, reason, largest.by, left)


def total(costs: list[Cost]) -> Cost:
    """Of all nodes of a graph together."""
    by, left = Counter(), Counter()
    for one in costs:
        by.update(one.by)
        left.update(one.not_counted)
    return Cost(min(sum(one.macs or 0 for one in costs), MAX_COUNT), by=by, not_counted=left)


class Passes:
    """What one pass of each graph costs, graphs that it runs included. Each is counted once, however often it is run."""

    def __init__(self, model: dict[str, Any], shapes: Callable[[int], Shapes]) -> None:
        self._model, self._shapes = model, shapes
        self._known: dict[int, Cost] = {}
        self._open: set[int] = set()

    def nodes(self, number: int) -> list[Cost]:
        """Of each node of a graph."""
        return [cost(self._model, n, self._shapes(number), self.of) for n in nodes(self._model, number)]

    def of(self, number: int) -> Cost:
        if number in self._open or len(self._open) > MAX_DEPTH:
            return Cost(0, not_counted=Counter({("graphs", "they call each other endlessly"): 1}))
        if number not in self._known:
            self._open.add(number)
            self._known[number] = total(self.nodes(number))
            self._open.remove(number)
        return self._known[number]
