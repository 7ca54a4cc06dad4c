"""What changed between two models: nodes, values, initializers, versions. Works on structure, then on values."""

from __future__ import annotations

import zlib
from collections import Counter
from hashlib import blake2b
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, SparseTensorProto, TensorProto

from lib.error_measures import absolute_error, close
from lib.errors import InvalidFile
from lib.onnx_inspect import graph, shapes
from lib.onnx_inspect.report import cut, shape_text
from lib.onnx_model.open import Model, dtype_name

PIECE = 1 << 22  # elements looked at together
Weight = TensorProto | SparseTensorProto
PLAIN = {getattr(AttributeProto, n) for n in ("INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS")}
MAX_TEXT = 300  # characters of a name or a description in the answer
MAX_ROWS = 500  # rows of each kind in the answer


def compare(a: Model, b: Model, rtol: float, atol: float) -> dict[str, Any]:
    """``a`` is the old model, ``b`` the new one; initializers are equal within |a-b| <= atol + rtol·|b|.

    Answers ``same`` and rows of {kind, change, name, before, after} with change one of added, removed,
    renamed, changed; ``counts`` has how many of each, also where rows were left out.
    """
    rows = [*_versions(a, b), *_values(a, b), *_initializers(a, b, rtol, atol), *_nodes(a, b)]
    counts: dict[str, Counter[str]] = {}
    kept: list[dict[str, str]] = []
    for row in rows:
        one = counts.setdefault(row["kind"], Counter())
        one[row["change"]] += 1
        if sum(one.values()) <= MAX_ROWS:
            kept.append({key: cut(text, MAX_TEXT) for key, text in row.items()})
    return {"same": not rows, "counts": {k: dict(v) for k, v in counts.items()}, "rows": kept, "rtol": rtol, "atol": atol}


def _row(kind: str, change: str, name: str, before: object = "", after: object = "") -> dict[str, str]:
    return {"kind": kind, "change": change, "name": name, "before": str(before), "after": str(after)}


def _versions(a: Model, b: Model) -> list[dict[str, str]]:
    def versions(model: Model) -> dict[str, object]:
        p = model.proto
        one = {
            "IR version": p.ir_version,
            "producer": f"{p.producer_name} {p.producer_version}".strip(),
            "graph": p.graph.name,
        }
        one |= {"doc_string": p.doc_string, "model_version": p.model_version, "domain": p.domain}
        one |= {f"opset {o.domain or 'ai.onnx'}": o.version for o in p.opset_import}
        return one | {f"metadata {m.key}": m.value for m in p.metadata_props}

    return _by_name("model", versions(a), versions(b))


def _by_name(kind: str, old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, str]]:
    out = [_row(kind, "removed", n, v) for n, v in old.items() if n not in new]
    out += [_row(kind, "added", n, "", v) for n, v in new.items() if n not in old]
    return out + [_row(kind, "changed", n, v, new[n]) for n, v in old.items() if n in new and v != new[n]]


def _values(a: Model, b: Model) -> list[dict[str, str]]:
    out = []
    for kind in ("input", "output"):

        def types(model: Model, kind: str = kind) -> dict[str, str]:
            found = {v.name: shapes.of(v.type) for v in getattr(model.proto.graph, kind)}
            return {n: f"{k.dtype} {shape_text(None if k.shape is None else list(k.shape))}" for n, k in found.items()}

        out += _renamed(_by_name(kind, types(a), types(b)))
    return out


def _renamed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Merges removed and added rows of equal content into renamed ones; several of equal content are paired in order."""
    twins: dict[str, list[dict[str, str]]] = {}
    for row in reversed([r for r in rows if r["change"] == "added"]):
        twins.setdefault(row["after"], []).append(row)
    out = []
    for row in rows:
        same = twins.get(row["before"]) if row["change"] == "removed" else None
        if same:
            twin = same.pop()
            out.append(_row(row["kind"], "renamed", f"{row['name']} → {twin['name']}", row["before"], twin["after"]))
        elif row["change"] != "added":
            out.append(row)
    left = {id(row) for same in twins.values() for row in same}
    return out + [r for r in rows if id(r) in left]


def _initializers(a: Model, b: Model, rtol: float, atol: float) -> list[dict[str, str]]:
    """Initializers by name; the others by type and exact values, as renamed ones."""
    old, new = _weights(a), _weights(b)
    out = []
    for name in old:
        if name not in new:
            continue
        if _kind(old[name]) != _kind(new[name]):
            out.append(_row("initializer", "changed", name, _kind(old[name]), _kind(new[name])))
        elif gap := _difference(a, old[name], b, new[name], rtol, atol):
            out.append(_row("initializer", "changed", name, _kind(old[name]), gap))
    gone, came = {n: t for n, t in old.items() if n not in new}, {n: t for n, t in new.items() if n not in old}
    kinds = set(map(_kind, gone.values())) & set(map(_kind, came.values()))
    rows = [_row("initializer", "removed", n, _content(a, t, kinds)) for n, t in gone.items()]
    rows += [_row("initializer", "added", n, "", _content(b, t, kinds)) for n, t in came.items()]
    return out + [r | {k: r[k].partition(" #")[0] for k in ("before", "after")} for r in _renamed(rows)]


def _weights(model: Model) -> dict[str, Weight]:
    graph = model.proto.graph
    return {t.name: t for t in graph.initializer} | {t.values.name: t for t in graph.sparse_initializer}


def _content(model: Model, tensor: Weight, kinds: set[str]) -> str:
    """Its type, and a digest of its values if another tensor of that type may be equal."""
    kind = _kind(tensor)
    return f"{kind} #{_digest(model, tensor)}" if kind in kinds else kind


def _digest(model: Model, tensor: Weight) -> str:
    """Of dtype, shape and values, wherever they are stored; by the tensor itself where they cannot be read."""
    if isinstance(tensor, SparseTensorProto):
        return _digest(model, tensor.values) + _digest(model, tensor.indices) + str(list(tensor.dims))
    out = blake2b(_kind(tensor).encode(), digest_size=12)
    try:
        values = model.array(tensor).reshape(-1)
    except InvalidFile:
        return out.hexdigest() + str(zlib.crc32(tensor.SerializeToString(deterministic=True)))
    if values.dtype.kind in "OSU":
        out.update(repr(values.tolist()).encode())
    else:
        for k in range(0, values.size, PIECE):
            out.update(np.ascontiguousarray(values[k : k + PIECE]).tobytes())
    return out.hexdigest()


def _kind(tensor: Weight) -> str:
    if isinstance(tensor, SparseTensorProto):
        return f"sparse {dtype_name(tensor.values.data_type)} {shape_text(list(tensor.dims))}"
    return f"{dtype_name(tensor.data_type)} {shape_text(list(tensor.dims))}"


def _difference(a: Model, old: Weight, b: Model, new: Weight, rtol: float, atol: float) -> str:
    """How far the values are apart, in words; "" if they are equal within the tolerance."""
    if isinstance(old, SparseTensorProto) or isinstance(new, SparseTensorProto):
        return "" if _digest(a, old) == _digest(b, new) else "other values, or at other places"
    try:
        x, y = a.array(old).reshape(-1), b.array(new).reshape(-1)
    except InvalidFile:
        return "its values cannot be read"
    if x.dtype.kind in "OSU":
        return "" if x.tolist() == y.tolist() else "other strings"
    worst, outside = 0.0, 0
    for k in range(0, x.size, PIECE):
        p, q = x[k : k + PIECE], y[k : k + PIECE]
        error = absolute_error(q, p)
        if largest := float(error.max(initial=0.0)):
            worst, outside = max(worst, largest), outside + int((~close(error, q, rtol, atol)).sum())
    return f"{outside:,} of {x.size:,} values differ, by up to {worst:.3g}" if outside else ""


def _nodes(a: Model, b: Model) -> list[dict[str, str]]:
    """Nodes by name where both have names that are unique, else by what they do and what they make."""
    old, new = _nodes_by_key(a), _nodes_by_key(b)
    rows = _by_name(
        "node", {k: _describe_node(a, n) for k, n in old.items()}, {k: _describe_node(b, n) for k, n in new.items()}
    )
    return _renamed(rows)


def _nodes_by_key(model: Model) -> dict[str, NodeProto]:
    try:
        proto = graph.inlined(model.proto)
    except Exception:  # recursive, or a call that does not fit its function: the report says so
        proto = model.proto
    found = graph.flat(graph.nodes(proto))
    times = Counter(n.scope + n.proto.name for n in found)
    out: dict[str, NodeProto] = {}
    for node in found:
        key = node.scope + node.proto.name
        if not node.proto.name or times[key] > 1:
            key = f"{node.scope}{node.op_type} → {', '.join(node.outputs)}"
        out[key] = node.proto
    return out


def _describe_node(model: Model, node: NodeProto) -> str:
    """Operator, inputs, outputs and attributes in one line; tensors and graphs as a digest of what they hold."""
    attributes = []
    for a in sorted(node.attribute, key=lambda a: a.name):
        if a.type in PLAIN:
            value = onnx.helper.get_attribute_value(a)
            text = repr(value) if len(a.SerializeToString()) < 200 else f"#{zlib.crc32(repr(value).encode()):08x}"
        else:
            text = f"#{_attribute_digest(model, a)}"
        attributes.append(f"{a.name}={text}")
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    listed = f" [{', '.join(attributes)}]" if attributes else ""
    return f"{name}({', '.join(node.input)}) → {', '.join(node.output)}{listed}"


def _attribute_digest(model: Model, a: AttributeProto) -> str:
    out = blake2b(digest_size=4)
    for tensor in [*([a.t] if a.HasField("t") else []), *a.tensors]:
        out.update(_digest(model, tensor).encode())
    for sparse in [*([a.sparse_tensor] if a.HasField("sparse_tensor") else []), *a.sparse_tensors]:
        out.update(_digest(model, sparse).encode())
    for inner in [*([a.g] if a.HasField("g") else []), *a.graphs]:
        for value in [*inner.input, *inner.output]:
            out.update(value.SerializeToString(deterministic=True))
        for tensor in [*inner.initializer, *inner.sparse_initializer]:
            out.update(_digest(model, tensor).encode())
        for node in inner.node:
            out.update(_describe_node(model, node).encode())
    for kind in [*([a.tp] if a.HasField("tp") else []), *a.type_protos]:
        out.update(kind.SerializeToString(deterministic=True))
    return out.hexdigest()
