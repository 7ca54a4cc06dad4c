"""Names of an ONNX graph's values, subgraphs included: all of them, new ones, and other ones in their place."""

from __future__ import annotations

from itertools import count
from typing import Any


def rename(graph: Any, names: dict[str, str]) -> None:
    """``names``: old -> new, all at once. A value that has one of the new names already gets another one."""
    names = {old: new for old, new in names.items() if old != new}
    taken = every_name(graph)
    for k, new in enumerate(sorted(set(names.values()) & taken - set(names))):
        names[new] = unused(f"{new}_inner_{k}", taken | set(names.values()))
    if names:
        _rename(graph, names)


def every_name(graph: Any) -> set[str]:
    """Every name that something has or reads in ``graph`` or inside it."""
    found = {v.name for v in (*graph.input, *graph.output, *graph.initializer, *graph.value_info)}
    found.update(sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        found.update(node.input, node.output)
        for attribute in node.attribute:
            for inside in (attribute.g, *attribute.graphs):
                found |= every_name(inside)
    return found


def unused(stem: str, taken: set[str]) -> str:
    """``stem``, or what begins like it where ``taken`` has that already."""
    return stem if stem not in taken else next(n for k in count(2) if (n := f"{stem}_{k}") not in taken)


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = names.get(sparse.values.name, sparse.values.name)
    for node in graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
        for attribute in node.attribute:
            for inside in (attribute.g, *attribute.graphs):
                _rename(inside, names)
