"""The order of an ONNX graph's nodes: makers before readers, also of what a subgraph reads from outside."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator

from onnx import GraphProto, NodeProto

from lib.convert.formats.onnx.opset.graph import subgraphs


class Circle(ValueError):
    """Nodes feed each other, so none can be first. The words name one."""


def sort(graph: GraphProto) -> None:
    """Sorts ``graph`` and its subgraphs in place; nodes that are in order stay where they are. Raises Circle."""
    for node in graph.node:
        for inner in subgraphs(node):
            sort(inner)
    order = _order(graph.node)
    if order != list(range(len(order))):
        nodes = [NodeProto.FromString(graph.node[k].SerializeToString()) for k in order]
        del graph.node[:]
        graph.node.extend(nodes)


def reads(node: NodeProto) -> Iterator[str]:
    """Every value that the node or anything inside it names as read; names made inside it are among them."""
    yield from node.input
    for graph in subgraphs(node):
        yield from (v.name for v in graph.output)
        for inner in graph.node:
            yield from reads(inner)


def _order(nodes: list[NodeProto]) -> list[int]:
    """Places of ``nodes``, the earliest that is ready first."""
    maker = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    waits = [{maker[name] for name in reads(node) if name in maker} - {k} for k, node in enumerate(nodes)]
    readers = defaultdict(list)
    for k, some in enumerate(waits):
        for one in some:
            readers[one].append(k)
    left = [len(some) for some in waits]
    ready = [k for k, count in enumerate(left) if not count]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for k in readers[order[-1]]:
            left[k] -= 1
            if not left[k]:
                heapq.heappush(ready, k)
    if len(order) < len(nodes):
        node = nodes[next(k for k, count in enumerate(left) if count)]
        raise Circle(f"the nodes at {(node.name or node.op_type)[:100]!r} feed each other in a circle")
    return order
