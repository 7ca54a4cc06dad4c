"""Converts an ONNX model to another ai.onnx opset: up with onnx's version converter, down with the steps of ``down.py``.

onnx's converter cannot downgrade most operators (it has no adapter from 14 to 13 or 13 to 12 for Add or Relu), and
some of its upgrades are wrong (Hardmax, GroupNormalization, 1.23.2). Weights bypass it: it would copy each of them
several times, and it is limited to 2 GB. The result is not checked here; ``onnx_files.write`` does that.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, helper, version_converter

from lib.convert.formats.onnx.names import every_name, unused
from lib.convert.formats.onnx.opset import broadcast as opset_broadcast
from lib.convert.formats.onnx.opset import version as onnx_version
from lib.convert.formats.onnx.opset.down import REDEFINED, down
from lib.convert.formats.onnx.opset.graph import Graph, Refused, attribute, input_name, subgraphs
from lib.errors import JobFailed
from lib.onnx_model.functions import all_nodes
from lib.onnx_model.words import clean

SMALL = 1024  # elements; larger initializers are weights and bypass the converter
USUAL_IR = 8


def convert(model: ModelProto, opset: int) -> ModelProto:
    """Converts a tidied model to ``opset``; modifies ``model``. Raises JobFailed if an operator has no equivalent there.

    File metadata may be lost: ``onnx_metadata`` preserves it.
    """
    current = onnx_version.opset(model)
    if current == opset:
        return model
    try:
        model = _expanded(model, current, opset)
        converted = _up(model, current, opset) if opset > current else _down(model, current, opset)
    except Refused as error:
        raise JobFailed(f"The model cannot be converted from opset {current} to {opset}: {error}.") from None
    needed = helper.find_min_ir_version_for(list(converted.opset_import), ignore_unknown=True)
    # older opsets are for older readers, so the IR version goes down too; IR 9 and later only add low-bit dtypes
    converted.ir_version = (
        max(converted.ir_version, needed) if opset > current else min(converted.ir_version, max(needed, USUAL_IR))
    )
    return converted


def _since(name: str, opset: int) -> int:
    """Returns the version of an ai.onnx operator in ``opset``; 0 if the opset lacks it."""
    try:
        return onnx.defs.get_schema(name, opset, "").since_version
    except onnx.defs.SchemaError:
        return 0


def _expanded(model: ModelProto, found: int, opset: int) -> ModelProto:
    """Inlines the function bodies of operators that the target opset lacks or that changed their meaning."""
    for _ in range(8):  # a function body may call another function
        names = {n.op_type for n in all_nodes(model.graph.node) if n.domain in ("", "ai.onnx")}
        missing = {n for n in names if _since(n, found) > opset and not _since(n, opset)}
        changed = {n for n in names & REDEFINED if _since(n, found) != _since(n, opset)}
        to_inline = [n for n in sorted(missing | changed) if _is_function(n, found)]
        if not to_inline:
            break
        try:
            _typed(model)
            _defaults(model, set(to_inline), found)
            model = onnx.inliner.inline_selected_functions(model, [("", n) for n in to_inline], inline_schema_functions=True)
            del model.graph.value_info[:]
        except RuntimeError as error:
            raise Refused(f"{', '.join(to_inline)} cannot be decomposed: {clean(str(error))}") from None
    return model


def _typed(model: ModelProto) -> None:
    """Adds a ``value_info`` for every value of the main graph: a function body may depend on its input types."""
    types = types_of(model)
    interface_names = {v.name for v in (*model.graph.input, *model.graph.output)}
    values = {t.name for t in model.graph.initializer} | {name for node in model.graph.node for name in node.output}
    del model.graph.value_info[:]
    model.graph.value_info.extend(
        ValueInfoProto(name=name, type=types[name]) for name in sorted(values - interface_names) if name in types
    )


def _defaults(model: ModelProto, names: set[str], opset: int) -> None:
    """Writes default attributes of these operators explicitly: onnx's inliner (1.23) ignores defaults."""
    for node in all_nodes(model.graph.node):
        if node.op_type in names and node.domain in ("", "ai.onnx"):
            explicit = {a.name for a in node.attribute}
            for name, definition in onnx.defs.get_schema(node.op_type, opset, "").attributes.items():
                if name not in explicit and definition.default_value.type:
                    node.attribute.append(definition.default_value)


def _is_function(name: str, opset: int) -> bool:
    """Returns whether the operator's schema has a function body."""
    schema = onnx.defs.get_schema(name, opset, "")
    return schema.has_function or schema.has_context_dependent_function


def types_of(model: ModelProto) -> dict[str, TypeProto]:
    """Returns value types by name, subgraphs included; declared types only if inference fails or the model is too big."""
    inferred = model
    if model.ByteSize() < onnx_version.WHOLE:
        try:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except Exception:  # a step that needs an unknown rank raises Refused
            inferred = model
    types: dict[str, TypeProto] = {}

    def collect(graph: GraphProto) -> None:
        types.update((v.name, v.type) for v in (*graph.value_info, *graph.output, *graph.input))
        types.update((t.name, helper.make_tensor_type_proto(t.data_type, t.dims)) for t in graph.initializer)
        for node in graph.node:
            for subgraph in subgraphs(node):
                collect(subgraph)

    collect(inferred.graph)
    return types


def _down(model: ModelProto, found: int, opset: int) -> ModelProto:
    """Downgrades ``model`` from opset ``found`` to ``opset`` in place, one version at a time."""
    types = types_of(model)
    for level in range(found, opset, -1):
        _down_graph(model.graph, level, types, None)
    _imports(model, opset)
    return model


def _down_graph(proto: GraphProto, level: int, types: dict[str, TypeProto], outer: Graph | None) -> None:
    """Rewrites a graph of opset ``level`` and its subgraphs for opset ``level - 1``, in place. Raises Refused."""
    graph, nodes = Graph(proto, types, outer), []
    for node in proto.node:
        for subgraph in subgraphs(node):
            _down_graph(subgraph, level, types, graph)
        changed_here = node.domain in ("", "ai.onnx") and _since(node.op_type, level) == level
        try:
            nodes += down(node, level, graph) if changed_here else [node]
        except Refused as error:
            raise Refused(f"the node {(node.name or node.output[0])[:100]!r} is a {node.op_type}, and {error}") from None
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.node[:]
    proto.node.extend(nodes)
    del proto.value_info[:]  # outdated after the rewrite


def _imports(model: ModelProto, opset: int) -> None:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset


def _up(model: ModelProto, found: int, opset: int) -> ModelProto:
    """Upgrades ``model``, working around the errors of onnx's converter. Raises Refused."""
    if found < 9 <= opset and any(n.op_type == "Scan" for n in all_nodes(model.graph.node)):
        raise Refused("Scan had a batch dimension before opset 9, and its inputs would change")
    if found < opset_broadcast.FIRST <= opset:
        opset_broadcast.plain(model.graph, types_of(model))
        del model.graph.value_info[:]
        opset_broadcast.hide(model)
        model = opset_broadcast.shown(_raised(model, opset_broadcast.FIRST))
    if found < 13 <= opset:
        _flat_hardmax(model.graph, every_name(model.graph))
    return _raised(model, opset)


def _raised(model: ModelProto, opset: int) -> ModelProto:
    """Upgrades with onnx's converter, passing it weights as inputs without values. Raises Refused."""
    weights = [t for t in model.graph.initializer if np.prod(t.dims, dtype=np.int64) > SMALL]
    listed = {v.name for v in model.graph.input}
    names = {t.name for t in weights}
    light = ModelProto()
    light.CopyFrom(_without(model, names))
    light.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in weights if t.name not in listed
    )
    try:
        converted = version_converter.convert_version(light, opset)
    except Exception as error:  # RuntimeError from its C++ part
        raise Refused(clean(str(error))) from None
    kept = [v for v in converted.graph.input if v.name not in names or v.name in listed]
    del converted.graph.input[:]
    converted.graph.input.extend(kept)
    converted.graph.initializer.extend(weights)
    _imports(converted, opset)
    return converted


def _without(model: ModelProto, names: set[str]) -> ModelProto:
    """Returns a copy without the weights in ``names``, built so that they are never copied."""
    copy = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import, graph=GraphProto())
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            getattr(copy.graph, field.name).MergeFrom(value) if field.is_repeated else setattr(copy.graph, field.name, value)
    copy.graph.initializer.extend(t for t in model.graph.initializer if t.name not in names)
    return copy


def _flat_hardmax(graph: GraphProto, taken: set[str]) -> None:
    """Flattens the input of Hardmax: before opset 13 it covered all axes from ``axis`` on; onnx's converter ignores that."""
    nodes = []
    for node in graph.node:
        for subgraph in subgraphs(node):
            _flat_hardmax(subgraph, taken)
        if node.op_type == "Hardmax" and node.domain in ("", "ai.onnx"):
            axis, x, y = attribute(node, "axis", 1), input_name(node, 0), node.output[0]
            shape, flat, hard = (unused(f"opset_{part}_{y}", taken) for part in ("shape", "flat", "hard"))
            taken |= {shape, flat, hard}
            nodes += [
                helper.make_node("Shape", [x], [shape]),
                helper.make_node("Flatten", [x], [flat], axis=axis),
                helper.make_node("Hardmax", [flat], [hard], node.name, axis=1),
                helper.make_node("Reshape", [hard, shape], [y]),
            ]
        else:
            nodes.append(node)
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
