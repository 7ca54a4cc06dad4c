"""Compare two models: versions, inputs and outputs, initializers and nodes."""

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

PIECE = 1 << 22  # elements compared at a time
Weight = TensorProto | SparseTensorProto
PLAIN = {getattr(AttributeProto, n) for n in ("INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS")}
MAX_TEXT = 300  # characters of a name or a description in the answer
MAX_ROWS = 500  # rows of each kind in the answer


def compare(a: Model, b: Model, rtol: float, atol: float) -> dict[str, Any]:
    """Compare the old model ``a`` with the new one ``b``. Initializers are equal within |a-b| <= atol + rtol·|b|.

    Returns ``same`` and ``rows`` of {kind, change, name, before, after}, where change is added, removed, renamed or
    changed. ``counts`` has the totals by kind and change, also for rows beyond ``MAX_ROWS``.
    """
    rows = [*_versions(a, b), *_values(a, b), *_initializers(a, b, rtol, atol), *_nodes(a, b)]
    counts: dict[str, Counter[str]] = {}
    listed: list[dict[str, str]] = []
    for row in rows:
        counter = counts.setdefault(row["kind"], Counter())
        counter[row["change"]] += 1
        if sum(counter.values()) <= MAX_ROWS:
            listed.append({key: cut(text, MAX_TEXT) for key, text in row.items()})
    return {"same": not rows, "counts": {k: dict(v) for k, v in counts.items()}, "rows": listed, "rtol": rtol, "atol": atol}


def _row(kind: str, change: str, name: str, before: object = "", after: object = "") -> dict[str, str]:
    return {"kind": kind, "change": change, "name": name, "before": str(before), "after": str(after)}


def _versions(a: Model, b: Model) -> list[dict[str, str]]:
    def versions(model: Model) -> dict[str, object]:
        p = model.proto
        by_name = {
            "IR version": p.ir_version,
            "producer": f"{p.producer_name} {p.producer_version}".strip(),
            "graph": p.graph.name,
        }
        by_name |= {"doc_string": p.doc_string, "model_version": p.model_version, "domain": p.domain}
        by_name |= {f"opset {o.domain or 'ai.onnx'}": o.version for o in p.opset_import}
        return by_name | {f"metadata {m.key}": m.value for m in p.metadata_props}

    return _by_name("model", versions(a), versions(b))


def _by_name(kind: str, old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, str]]:
    rows = [_row(kind, "removed", n, v) for n, v in old.items() if n not in new]
    rows += [_row(kind, "added", n, "", v) for n, v in new.items() if n not in old]
    return rows + [_row(kind, "changed", n, v, new[n]) for n, v in old.items() if n in new and v != new[n]]


def _values(a: Model, b: Model) -> list[dict[str, str]]:
    rows = []
    for kind in ("input", "output"):

        def types(model: Model, kind: str = kind) -> dict[str, str]:
            by_name = {v.name: shapes.of(v.type) for v in getattr(model.proto.graph, kind)}
            return {n: f"{k.dtype} {shape_text(None if k.shape is None else list(k.shape))}" for n, k in by_name.items()}

        rows += _renamed(_by_name(kind, types(a), types(b)))
    return rows


def _renamed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Merge removed and added rows of equal content into renamed ones. Rows of equal content are paired in order."""
    twins: dict[str, list[dict[str, str]]] = {}
    for row in reversed([r for r in rows if r["change"] == "added"]):
        twins.setdefault(row["after"], []).append(row)
    merged = []
    for row in rows:
        candidates = twins.get(row["before"]) if row["change"] == "removed" else None
        if candidates:
            twin = candidates.pop()
            merged.append(_row(row["kind"], "renamed", f"{row['name']} → {twin['name']}", row["before"], twin["after"]))
        elif row["change"] != "added":
            merged.append(row)
    unmatched = {id(row) for candidates in twins.values() for row in candidates}
    return merged + [r for r in rows if id(r) in unmatched]


def _initializers(a: Model, b: Model, rtol: float, atol: float) -> list[dict[str, str]]:
    """Compare initializers by name, and the remaining ones by type and exact values to find renamed ones."""
    old, new = _weights(a), _weights(b)
    rows_by_name = []
    for name in old:
        if name not in new:
            continue
        if _kind(old[name]) != _kind(new[name]):
            rows_by_name.append(_row("initializer", "changed", name, _kind(old[name]), _kind(new[name])))
        elif gap := _difference(a, old[name], b, new[name], rtol, atol):
            rows_by_name.append(_row("initializer", "changed", name, _kind(old[name]), gap))
    removed, added = {n: t for n, t in old.items() if n not in new}, {n: t for n, t in new.items() if n not in old}
    kinds = set(map(_kind, removed.values())) & set(map(_kind, added.values()))
    rows = [_row("initializer", "removed", n, _content(a, t, kinds)) for n, t in removed.items()]
    rows += [_row("initializer", "added", n, "", _content(b, t, kinds)) for n, t in added.items()]
    return rows_by_name + [r | {k: r[k].partition(" #")[0] for k in ("before", "after")} for r in _renamed(rows)]


def _weights(model: Model) -> dict[str, Weight]:
    graph = model.proto.graph
    return {t.name: t for t in graph.initializer} | {t.values.name: t for t in graph.sparse_initializer}


def _content(model: Model, tensor: Weight, kinds: set[str]) -> str:
    """Return the type, with a digest of the values if the other model has a candidate of that type."""
    kind = _kind(tensor)
    return f"{kind} #{_digest(model, tensor)}" if kind in kinds else kind


def _digest(model: Model, tensor: Weight) -> str:
    """Return a digest of dtype, shape and values, independent of storage. Unreadable values are replaced by the proto."""
    if isinstance(tensor, SparseTensorProto):
        return _digest(model, tensor.values) + _digest(model, tensor.indices) + str(list(tensor.dims))
    digest = blake2b(_kind(tensor).encode(), digest_size=12)
    try:
        values = model.array(tensor).reshape(-1)
    except InvalidFile:
        return digest.hexdigest() + str(zlib.crc32(tensor.SerializeToString(deterministic=True)))
    if values.dtype.kind in "OSU":
        digest.update(repr(values.tolist()).encode())
    else:
        for k in range(0, values.size, PIECE):
            digest.update(np.ascontiguousarray(values[k : k + PIECE]).tobytes())
    return digest.hexdigest()


def _kind(tensor: Weight) -> str:
    if isinstance(tensor, SparseTensorProto):
        return f"sparse {dtype_name(tensor.values.data_type)} {shape_text(list(tensor.dims))}"
    return f"{dtype_name(tensor.data_type)} {shape_text(list(tensor.dims))}"


def _difference(a: Model, old: Weight, b: Model, new: Weight, rtol: float, atol: float) -> str:
    """Describe how far the values differ; "" if they are equal within the tolerance."""
    if isinstance(old, SparseTensorProto) or isinstance(new, SparseTensorProto):
        return "" if _digest(a, old) == _digest(b, new) else "different values or positions"
    try:
        x, y = a.array(old).reshape(-1), b.array(new).reshape(-1)
    except InvalidFile:
        return "its values cannot be read"
    if x.dtype.kind in "OSU":
        return "" if x.tolist() == y.tolist() else "different strings"
    worst, outside = 0.0, 0
    for k in range(0, x.size, PIECE):
        p, q = x[k : k + PIECE], y[k : k + PIECE]
        error = absolute_error(q, p)
        if largest := float(error.max(initial=0.0)):
            worst, outside = max(worst, largest), outside + int((~close(error, q, rtol, atol)).sum())
    return f"{outside:,} of {x.size:,} values differ, by up to {worst:.3g}" if outside else ""


def _nodes(a: Model, b: Model) -> list[dict[str, str]]:
    """Compare nodes by name. Unnamed nodes and duplicate names are identified by operator and outputs."""
    old, new = _nodes_by_key(a), _nodes_by_key(b)
    rows = _by_name(
        "node", {k: _describe_node(a, n) for k, n in old.items()}, {k: _describe_node(b, n) for k, n in new.items()}
    )
    return _renamed(rows)


def _nodes_by_key(model: Model) -> dict[str, NodeProto]:
    try:
        proto = graph.inlined(model.proto)
    except Exception:  # recursive, or a call that does not match its function; the report says so
        proto = model.proto
    flat_nodes = graph.flat(graph.nodes(proto))
    occurrences = Counter(n.scope + n.proto.name for n in flat_nodes)
    by_key: dict[str, NodeProto] = {}
    for node in flat_nodes:
        key = node.scope + node.proto.name
        if not node.proto.name or occurrences[key] > 1:
            key = f"{node.scope}{node.op_type} → {', '.join(node.outputs)}"
        by_key[key] = node.proto
    return by_key


def _describe_node(model: Model, node: NodeProto) -> str:
    """Return operator, inputs, outputs and attributes in one line. Tensors and graphs are shown as a digest."""
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
    digest = blake2b(digest_size=4)
    for tensor in [*([a.t] if a.HasField("t") else []), *a.tensors]:
        digest.update(_digest(model, tensor).encode())
    for sparse in [*([a.sparse_tensor] if a.HasField("sparse_tensor") else []), *a.sparse_tensors]:
        digest.update(_digest(model, sparse).encode())
    for inner in [*([a.g] if a.HasField("g") else []), *a.graphs]:
        for value in [*inner.input, *inner.output]:
            digest.update(value.SerializeToString(deterministic=True))
        for tensor in [*inner.initializer, *inner.sparse_initializer]:
            digest.update(_digest(model, tensor).encode())
        for node in inner.node:
            digest.update(_describe_node(model, node).encode())
    for kind in [*([a.tp] if a.HasField("tp") else []), *a.type_protos]:
        digest.update(kind.SerializeToString(deterministic=True))
    return digest.hexdigest()
