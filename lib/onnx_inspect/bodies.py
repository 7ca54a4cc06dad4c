"""Count the MACs of control flow: the larger branch of an If, and the body of a Loop or Scan times its trip count.

Inner nodes that cannot be counted are listed and left out of the sum.
"""

from __future__ import annotations

from lib.onnx_inspect.cost import MacCount, single
from lib.onnx_inspect.graph import Node
from lib.onnx_model.open import MAX_EXACT

SAME = {"Identity", "Cast"}


def count_macs(node: Node, numbers: dict[str, float]) -> MacCount:
    """Count the MACs of a node with its bodies. ``numbers``: values known without a run (``propagate.complete``)."""
    if not node.bodies:
        return single(node)
    counts = [_body(body, numbers) for body in node.bodies.values()]
    if node.op_type == "If":
        largest = max(counts, key=lambda one: one.macs or 0, default=MacCount(0))
        uncounted: dict[tuple[str, str], int] = {}
        for one in counts:  # only one of them runs
            uncounted = {key: max(uncounted.get(key, 0), one.not_counted.get(key, 0)) for key in uncounted | one.not_counted}
        return MacCount(largest.macs, _reason(uncounted), uncounted, largest.by)
    body = counts[0] if counts else MacCount(0)
    if not body.macs:
        return MacCount(0, _reason(body.not_counted), body.not_counted)
    trips, description = _trips(node, numbers)
    if trips is None:
        reason = f"its body ({body.macs:,} MACs per pass) runs {description}"
        return MacCount(None, reason, {(node.operator, reason): 1} | body.not_counted)
    if trips * body.macs > MAX_EXACT:
        return MacCount(None, "too many to count", {(node.operator, "too many to count"): 1})
    return MacCount(
        trips * body.macs, _reason(body.not_counted), body.not_counted, {k: trips * n for k, n in body.by.items()}
    )


def _body(nodes: list[Node], numbers: dict[str, float]) -> MacCount:
    total = MacCount(0)
    for node in nodes:
        count = count_macs(node, numbers)
        total.macs = (total.macs or 0) + (count.macs or 0)
        for key, n in count.not_counted.items():
            total.not_counted[key] = total.not_counted.get(key, 0) + n
        for operator, n in count.by.items():
            total.by[operator] = total.by.get(operator, 0) + n
    return total


def _reason(left: dict[tuple[str, str], int]) -> str:
    names = list(dict.fromkeys(operator for operator, _ in left))
    return f"without the {', '.join(names[:5])} in its body, which is not counted" if names else ""


def _trips(node: Node, numbers: dict[str, float]) -> tuple[int | None, str]:
    """Return the trip count and "", or None and a description if the count depends on values."""
    unknown = "an unknown number of times"
    if node.op_type == "Scan":
        scanned = node.type_of(len(node.inputs) - int(node.attribute("num_scan_inputs", 1)))
        axis = (node.attribute("scan_input_axes") or [0])[0]
        shape = (scanned.shape if scanned else None) or ()
        length = shape[axis] if -len(shape) <= axis < len(shape) else None
        return (length, "") if isinstance(length, int) else (None, unknown)
    if node.op_type != "Loop" or not node.inputs:
        return None, unknown
    max_trips = numbers.get(node.inputs[0])
    if max_trips is None or not 0 <= max_trips < MAX_EXACT:
        return None, unknown
    if _ends_by_trip_count_only(node, numbers):
        return int(max_trips), ""
    return None, f"up to {int(max_trips):,} times, depending on its condition"


def _ends_by_trip_count_only(node: Node, numbers: dict[str, float]) -> bool:
    """Return whether only the trip count ends the loop: its condition is true and the body returns it unchanged."""
    condition = node.inputs[1] if len(node.inputs) > 1 else ""
    if condition and not numbers.get(condition):
        return False
    graph = node.attribute("body")
    if graph is None or len(graph.input) < 2 or not graph.output:
        return False
    producers = {name: inner for inner in graph.node for name in inner.output}
    name = graph.output[0].name
    while (inner := producers.get(name)) is not None and inner.op_type in SAME and inner.input:
        name = inner.input[0]
    return name == graph.input[1].name or bool(numbers.get(name))
