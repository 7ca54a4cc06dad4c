"""Check how nodes are connected, by name: order, undefined inputs, duplicate names, unknown operators.

onnx's checker stops at the first error and identifies it by the node's name, which may be empty, and it lacks some rules
of onnxruntime. These functions find all errors and name nodes as the report does.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from lib.onnx_inspect.graph import Node
from lib.onnx_inspect.report import Problem

KNOWN = {"": "ai.onnx", "ai.onnx": "ai.onnx", "ai.onnx.ml": "ai.onnx.ml"}  # domains that onnx defines completely
BAD_NODE = re.compile(r"Bad node spec for node\. Name:\s+OpType: (\w+)")


def find_problems(model: ModelProto) -> list[Problem]:
    """Find undefined inputs, unknown operators and duplicate node names."""
    problems = []
    for scope, graph, outer in _graphs(model.graph, "", frozenset()):
        problems += [*_undefined(scope, graph, outer), *_unknown(scope, graph, model), *_duplicate_names(scope, graph.node)]
    for function in model.functions:
        problems += _duplicate_names(f"function {function.name[:100]}: ", function.node)
    return problems


def without_duplicates(found: list[Problem], own: list[Problem], model: ModelProto) -> list[Problem]:
    """Remove onnx's messages from ``found`` that ``own`` also covers, and add missing node names to the others."""
    rules = {p.rule for p in own}
    kept = []
    for problem in found:
        if problem.rule == "onnx":
            if "unknown-operator" in rules and "No Op registered" in problem.message:
                continue
            if "undefined-input" in rules and "topologically sorted" in problem.message:
                continue
            if (match := BAD_NODE.search(problem.message)) is not None:
                candidates = [k for k, n in enumerate(model.graph.node) if n.op_type == match[1] and not n.name]
                if len(candidates) == 1:
                    problem.where = _node_name(model.graph.node[candidates[0]], candidates[0])
        kept.append(problem)
    return kept


def order(nodes: list[Node]) -> list[Problem]:
    """Find nodes that read a later node's output: a cycle or a wrong order, which the checker does not distinguish."""
    made_at = {name: node.index for node in nodes for name in node.outputs if name}
    before = {n.index: {made_at[i] for i in (*n.inputs, *n.captured) if i in made_at} for n in nodes}
    if all(max(sources, default=-1) < k for k, sources in before.items()):
        return []
    after: dict[int, list[int]] = {}
    for k, sources in before.items():
        for j in sources:
            after.setdefault(j, []).append(k)
    pending = {k: len(sources) for k, sources in before.items()}
    ready = [k for k, n in pending.items() if n == 0]
    while ready:
        for k in after.get(ready.pop(), []):
            pending[k] -= 1
            if pending[k] == 0:
                ready.append(k)
    blocked = [nodes[k].name for k, n in pending.items() if n > 0]
    if blocked:
        names = ", ".join(repr(n[:60]) for n in blocked[:5])
        text = f"the graph has a cycle; {len(blocked)} nodes wait for it: {names}"
        return [Problem("error", "graph", text, "Break the cycle.", "cycle")]
    text = "its nodes are not in execution order"
    return [Problem("error", "graph", text, "Sort them topologically.", "order")]


def _graphs(graph: GraphProto, scope: str, outer: frozenset[str]) -> Iterator[tuple[str, GraphProto, frozenset[str]]]:
    """Yield each graph with its scope and the outer names that it can read."""
    yield scope, graph, outer
    inside = None
    for k, node in enumerate(graph.node):
        for a in node.attribute:
            for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                inside = inside or outer | _made(graph)
                yield from _graphs(inner, f"{scope}{_node_name(node, k)[:100]}/{a.name[:100]}/", inside)


def _made(graph: GraphProto) -> set[str]:
    initializers = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    return initializers | {v.name for v in graph.input} | {name for node in graph.node for name in node.output}


def _node_name(node: NodeProto, k: int) -> str:
    return node.name or f"{node.op_type}_{k}"


def _undefined(scope: str, graph: GraphProto, outer: frozenset[str]) -> Iterator[Problem]:
    defined = _made(graph) | outer | {""}
    for k, node in enumerate(graph.node):
        for name in dict.fromkeys(n for n in node.input if n not in defined):
            output_note = f", which makes {node.output[0][:80]!r}," if node.output and not node.name else ""
            yield Problem(
                "error",
                scope + _node_name(node, k),
                f"this {node.op_type[:80]}{output_note} reads {name[:80]!r}, which no input, initializer or node provides",
                "Add what is missing, or correct the name.",
                "undefined-input",
            )
    for value in graph.output:
        if value.name not in defined:
            text = "no node makes this output"
            yield Problem("error", value.name, text, "Remove the output, or correct its name.", "undefined-input")


def _unknown(scope: str, graph: GraphProto, model: ModelProto) -> Iterator[Problem]:
    versions = {KNOWN.get(o.domain, o.domain): o.version for o in model.opset_import}
    local_functions = {(f.domain, f.name) for f in model.functions}
    for k, node in enumerate(graph.node):
        domain = KNOWN.get(node.domain)
        if domain is None or domain not in versions or (node.domain, node.op_type) in local_functions:
            continue
        plain = "" if domain == "ai.onnx" else domain
        try:
            if onnx.defs.has(node.op_type, versions[domain], plain):
                continue
            since = onnx.defs.get_schema(node.op_type, plain).since_version if onnx.defs.has(node.op_type, plain) else 0
        except Exception:  # an undecodable name or a version too large for C++'s int, which the checker reports
            continue
        note = f" (the node makes {node.output[0][:80]!r})" if node.output and not node.name else ""
        text = f"{domain} opset {versions[domain]} has no operator {node.op_type[:80]!r}{note}"
        suggestions = difflib.get_close_matches(node.op_type[:80], _operators(plain), 1, 0.75)
        fix = (
            f"Did the exporter mean {suggestions[0]}?"
            if suggestions
            else "Correct the operator, or give it the domain that defines it."
        )
        if since:
            fix = f"{node.op_type} came with opset {since}: export with that opset or a later one."
        yield Problem("error", scope + _node_name(node, k), text, fix, "unknown-operator")


@cache
def _operators(domain: str) -> list[str]:
    return sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == domain})


def _duplicate_names(scope: str, nodes: Iterable[NodeProto]) -> Iterator[Problem]:
    """Find duplicate node names. The checker accepts them; onnxruntime accepts them only for Constants."""
    for name, n in Counter(node.name for node in nodes if node.name and node.op_type != "Constant").items():
        if n > 1:
            text = f"{n} nodes have this name; onnxruntime refuses such a model"
            yield Problem("error", scope + name, text, "Give every node a unique name, or none.", "duplicate-node-name")
