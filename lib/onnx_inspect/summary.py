"""Summarise an opened model as a Report: counts, shapes, initializers, cost and problems."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from lib.onnx_inspect import bodies, check, cost, dynamic, graph, lints, propagate, shapes, wiring
from lib.onnx_inspect.graph import Node
from lib.onnx_inspect.report import Problem, Report, cut
from lib.onnx_model.open import Model, byte_size, count, dtype_name, tensors
from lib.onnx_model.runtime import supported

TEXT = 4000  # characters of a text from the model; longer ones are truncated
MAX_NODES = 50_000  # listed nodes; counts and sums cover all
MAX_COUNT = 1 << 62  # JSON readers use 64-bit integers
NAME = 300  # characters of a name, as names are repeated for each reader of an initializer


def summarise(model: Model, name: str, given: dict[str, int], folder: Path) -> Report:
    """Return the report. ``given``: sizes of dynamic dimensions; ``folder``: scratch space. Raises InvalidValue."""
    proto = model.proto
    problems: list[Problem] = []
    flat = check.guarded(problems, "functions", graph.inlined, proto) or proto
    inferred = check.guarded(problems, "shapes", _inferred, model, flat, folder) or flat
    sizes, sizes_note = dynamic.plausible(flat, given)
    bound, chosen = shapes.bind(flat, sizes)
    numbers: dict[str, float] = {}
    bound = check.guarded([], "shapes", _inferred, model, bound, folder, numbers) or bound
    symbolic, nodes = graph.nodes(inferred), graph.nodes(bound)
    weights = cost.weights_of(bound)
    costs = [cost.cost(node, weights, bodies.count_macs(node, numbers)) for node in nodes]
    memory = cost.memory(nodes, bound)
    faults = wiring.find_problems(proto)
    problems = wiring.without_duplicates(problems + check.check(model, inferred, symbolic, folder), faults, proto)
    problems += _cut(faults)
    by_operator: Counter[str] = Counter()
    for node_cost in costs:
        by_operator.update(node_cost.by)
    used = {e.value for _, t in tensors(proto) for e in t.external_data if e.key == "location"}
    all_nodes = graph.flat(symbolic)
    over = [min(n, MAX_COUNT) for n in memory.over]
    listed = [_node(s, b, node_cost) for s, b, node_cost in zip(symbolic[:MAX_NODES], nodes, costs, strict=False)]
    listed += _inner(symbolic)[: MAX_NODES - len(listed)]
    return Report(
        file={"name": name, "bytes": model.size, "external": sorted(used & model.externals.keys())}
        | {"beside": {n: lints.beside(n) or "unknown" for n in sorted(model.externals.keys() - used)}},
        missing=check.missing(model),
        valid=not any(p.severity == "error" for p in problems),
        problems=sorted(problems, key=lambda p: ("error", "warning", "info").index(p.severity)),
        ir_version=proto.ir_version,
        opset_imports={o.domain or "ai.onnx": o.version for o in proto.opset_import},
        onnxruntime=supported(),
        producer=_text(f"{proto.producer_name} {proto.producer_version}".strip()),
        doc_string=_text(proto.doc_string or proto.graph.doc_string),
        model_version=proto.model_version,
        domain=_text(proto.domain),
        training=len(proto.training_info),
        graph=_text(proto.graph.name),
        graph_doc_string=_text(proto.graph.doc_string),
        metadata={_text(p.key): _text(p.value) for p in (*proto.graph.metadata_props, *proto.metadata_props)},
        inputs=[_value(v) for v in _inputs(proto)],
        outputs=[_value(v) for v in _outputs(proto, inferred)],
        symbols=dynamic.as_report(chosen, shapes.symbols(flat)),
        sizes=chosen,
        sizes_note=sizes_note,
        parameters=parameters(proto),
        initializers=initializers(model, nodes),
        operators=dict(Counter(node.operator for node in all_nodes).most_common()),
        functions=functions(proto),
        subgraphs=subgraphs(symbolic),
        macs=min(sum(node_cost.macs or 0 for node_cost in costs), MAX_COUNT),
        macs_by_operator={k: min(v, MAX_COUNT) for k, v in by_operator.most_common() if v},
        not_counted=cost.uncounted(costs),
        memory={"peak_bytes": min(memory.peak, MAX_COUNT), "at": memory.at, "over_nodes": over, "unknown": memory.unknown},
        nodes=listed,
        nodes_left_out=len(all_nodes) - len(listed),
    )


def _inferred(model: Model, proto: ModelProto, folder: Path, numbers: dict[str, float] | None = None) -> ModelProto:
    return propagate.complete(shapes.infer(model, proto, folder), numbers)


def _cut(faults: list[Problem]) -> list[Problem]:
    """Keep at most fifty problems of each kind and add the number of the others."""
    kept: list[Problem] = []
    for rule in dict.fromkeys(p.rule for p in faults):
        alike = [p for p in faults if p.rule == rule]
        kept += alike[: check.MAX_PER_KIND]
        if (excess := len(alike) - check.MAX_PER_KIND) > 0:
            kept.append(Problem("error", "model", f"{excess:,} more like these.", "", rule))
    return kept


def parameters(proto: ModelProto) -> dict[str, Any]:
    """Count elements and bytes by dtype: initializers and Constant tensors of the graph, its subgraphs and functions."""
    by_dtype: dict[str, dict[str, int]] = {}
    counts = {"initializers": 0, "constants": 0}

    def add(tensor: onnx.TensorProto, kind: str) -> None:
        totals = by_dtype.setdefault(dtype_name(tensor.data_type), {"count": 0, "bytes": 0})
        totals["count"] += count(tensor)
        totals["bytes"] += byte_size(tensor)
        counts[kind] += count(tensor)

    def walk(nodes: Any) -> None:
        for node in nodes:
            for a in node.attribute:
                if node.op_type == "Constant" and a.HasField("t"):
                    add(a.t, "constants")
                for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                    enter(inner)

    def enter(g: onnx.GraphProto) -> None:
        for tensor in g.initializer:
            add(tensor, "initializers")
        for sparse in g.sparse_initializer:
            add(sparse.values, "initializers")
        walk(g.node)

    enter(proto.graph)
    for function in proto.functions:
        walk(function.node)
    total = sum(v["count"] for v in by_dtype.values())
    return {"count": total, "bytes": sum(v["bytes"] for v in by_dtype.values()), "by_dtype": by_dtype, **counts}


def initializers(model: Model, nodes: list[Node]) -> list[dict[str, Any]]:
    """List the initializers, largest first, with the nodes that read them. Includes Constants of several elements."""
    readers = graph.readers(nodes)
    outputs = {v.name for v in model.proto.graph.output}
    entries = [(t.name, t, tuple(t.dims), False) for t in model.proto.graph.initializer]
    entries += [(s.values.name, s.values, tuple(s.dims), True) for s in model.proto.graph.sparse_initializer]
    held = {name for name, *_ in entries}
    entries += [
        (n, t, tuple(t.dims), False) for n, t in cost.constants(model.proto).items() if count(t) > 1 and n not in held
    ]
    rows = []
    for name, tensor, dims, sparse in entries:
        users = readers.get(name, [])
        rows.append(
            {
                "name": _name(name),
                "dtype": dtype_name(tensor.data_type),
                "shape": list(dims),
                "count": count(tensor),
                "bytes": byte_size(tensor),
                "used_by": [_name(nodes[k].name) for k in users[:8]],
                "uses": len(users) + (name in outputs),
                "sparse": sparse,
                "constant": name not in held,
                "external": next(
                    (e.value for e in tensor.external_data if e.key == "location" and e.value in model.externals), ""
                ),
            }
        )
    return sorted(rows, key=lambda i: -i["bytes"])


def functions(proto: ModelProto) -> list[dict[str, Any]]:
    """List the model-local functions with their number of nodes and calls."""
    calls = Counter((n.domain, n.op_type) for n in [*proto.graph.node, *(n for f in proto.functions for n in f.node)])
    return [
        {"name": _text(f.name), "domain": _text(f.domain), "nodes": len(f.node), "calls": calls[f.domain, f.name]}
        for f in proto.functions
    ]


def subgraphs(nodes: list[Node]) -> list[dict[str, Any]]:
    """List the subgraphs with their scope, owning operator and number of nodes."""
    rows = []
    for node in nodes:
        for key, body in node.bodies.items():
            rows.append(
                {"scope": f"{node.scope}{node.name[: graph.SCOPE]}/{key}", "operator": node.operator, "nodes": len(body)}
            )
            rows += subgraphs(body)
    return rows


def _node(symbolic: Node, bound: Node, one: cost.NodeCost) -> dict[str, Any]:
    return {
        "index": bound.index,
        "name": _name(bound.name),
        "operator": bound.operator,
        "scope": bound.scope,
        "inputs": [_name(n) for n in bound.inputs],
        "outputs": [_name(n) for n in bound.outputs],
        "output_shapes": [_shape(symbolic, k) for k in range(len(symbolic.outputs))],
        "macs": one.macs,
        "reason": one.reason,
        "parameters": one.parameters,
        "weight_bytes": one.weight_bytes,
        "input_bytes": one.input_bytes,
        "output_bytes": one.output_bytes,
        "intensity": None if one.intensity is None else float(f"{one.intensity:.4g}"),
    }


def _inner(nodes: list[Node]) -> list[dict[str, Any]]:
    """List the nodes of subgraphs with shapes. Their cost is counted with the node that owns the body."""
    nothing = cost.NodeCost(None, "counted with the node that runs this body", 0, 0, None, None)
    return [_node(n, n, nothing) for n in graph.flat(nodes) if n.scope]


def _shape(node: Node, k: int) -> list[Any] | None:
    kind = node.output_type(k)
    return None if kind is None or kind.shape is None else list(kind.shape)


def _inputs(proto: ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the graph's inputs without initializers, which IR 3 lists as inputs too."""
    initializer_names = {t.name for t in proto.graph.initializer} | {s.values.name for s in proto.graph.sparse_initializer}
    return [v for v in proto.graph.input if v.name not in initializer_names]


def _outputs(proto: ModelProto, inferred: ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the graph's outputs as declared, or as inferred if they are declared without a shape."""
    known = {v.name: v for v in inferred.graph.output}
    return [v if shapes.of(v.type).shape is not None else known.get(v.name, v) for v in proto.graph.output]


def _value(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = shapes.of(value.type)
    shape = None if kind.shape is None else list(kind.shape)
    return {"name": _text(value.name), "dtype": kind.dtype, "shape": shape, "doc": _text(value.doc_string)}


def _text(text: str) -> str:
    return cut(text, TEXT)


def _name(text: str) -> str:
    return cut(text, NAME)
