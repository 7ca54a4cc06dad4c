"""Lists, creates and renames value names of an ONNX graph, subgraphs included."""

from __future__ import annotations

from itertools import count
from typing import Any


def rename(graph: Any, names: dict[str, str]) -> None:
    """Renames values (``names``: old -> new) in one step. Values that already use a new name are renamed too."""
    names = {old: new for old, new in names.items() if old != new}
    taken = every_name(graph)
    for k, new in enumerate(sorted(set(names.values()) & taken - set(names))):
        names[new] = unused(f"{new}_inner_{k}", taken | set(names.values()))
    if names:
        _rename(graph, names)


def every_name(graph: Any) -> set[str]:
    """Returns every value name defined or read in ``graph`` and its subgraphs."""
    names = {v.name for v in (*graph.input, *graph.output, *graph.initializer, *graph.value_info)}
    names.update(sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        names.update(node.input, node.output)
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                names |= every_name(subgraph)
    return names


def unused(stem: str, taken: set[str]) -> str:
    """Returns ``stem``, with a numeric suffix if ``taken`` already has it."""
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
            for subgraph in (attribute.g, *attribute.graphs):
                _rename(subgraph, names)
