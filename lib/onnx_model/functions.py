"""How big a model is once its own functions are inlined. A few lines of text can mean a billion nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import ModelProto, NodeProto

MAX_NODES = 1_000_000  # nodes; more are neither inlined nor given to a runtime, which inlines them too
Key = tuple[str, str, str]


class Recursive(ValueError):
    """A function calls itself, directly or through others."""


def inlined_size(model: ModelProto) -> int:
    """Nodes of the graph and its subgraphs, each call counted as the nodes of its function. Raises Recursive."""
    bodies: dict[Key, list[Key]] = {}
    for function in model.functions:  # two of one name count together: which one is meant is not ours to say
        calls = [_key(node.domain, node.op_type, node.overload) for node in all_nodes(function.node)]
        bodies.setdefault(_key(function.domain, function.name, function.overload), []).extend(calls)
    sizes: dict[Key, int] = {}
    todo, entered = list(bodies), set()
    while todo:
        key = todo[-1]
        if waiting := [call for call in dict.fromkeys(bodies[key]) if call in bodies and call not in sizes]:
            if key in entered:
                raise Recursive(f"the function {key[1][:100]!r} calls itself; ONNX has no recursion")
            entered.add(key)
            todo += waiting
        else:
            sizes[todo.pop()] = min(sum(sizes.get(call, 1) for call in bodies[key]), 1 << 62)
    return sum(sizes.get(_key(n.domain, n.op_type, n.overload), 1) for n in all_nodes(model.graph.node))


def _key(domain: str, name: str, overload: str) -> Key:
    return "" if domain == "ai.onnx" else domain, name, overload


def all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """These nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for a in node.attribute:
            for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                yield from all_nodes(inner.node)
