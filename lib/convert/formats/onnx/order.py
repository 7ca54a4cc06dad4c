"""Sorts the nodes of an ONNX graph topologically, counting values that subgraphs read from outer scopes."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator

from onnx import GraphProto, NodeProto

from lib.convert.formats.onnx.opset.graph import subgraphs


class Circle(ValueError):
    """The graph has a cycle. The message names one of its nodes."""


def sort(graph: GraphProto) -> None:
    """Sorts ``graph`` and its subgraphs in place; nodes already in order do not move. Raises Circle."""
    for node in graph.node:
        for subgraph in subgraphs(node):
            sort(subgraph)
    order = _order(graph.node)
    if order != list(range(len(order))):
        nodes = [NodeProto.FromString(graph.node[k].SerializeToString()) for k in order]
        del graph.node[:]
        graph.node.extend(nodes)


def reads(node: NodeProto) -> Iterator[str]:
    """Yields every value name that the node or its subgraphs read, including names defined inside the subgraphs."""
    yield from node.input
    for graph in subgraphs(node):
        yield from (v.name for v in graph.output)
        for inner_node in graph.node:
            yield from reads(inner_node)


def _order(nodes: list[NodeProto]) -> list[int]:
    """Returns indices of ``nodes`` in topological order (Kahn's algorithm), lowest index first. Raises Circle."""
    maker = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    dependencies = [{maker[name] for name in reads(node) if name in maker} - {k} for k, node in enumerate(nodes)]
    readers = defaultdict(list)
    for k, needed in enumerate(dependencies):
        for producer in needed:
            readers[producer].append(k)
    remaining = [len(needed) for needed in dependencies]
    ready = [k for k, count in enumerate(remaining) if not count]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for k in readers[order[-1]]:
            remaining[k] -= 1
            if not remaining[k]:
                heapq.heappush(ready, k)
    if len(order) < len(nodes):
        node = nodes[next(k for k, count in enumerate(remaining) if count)]
        raise Circle(f"the nodes at {(node.name or node.op_type)[:100]!r} form a cycle")
    return order
