"""An ONNX model at another opset of ai.onnx: up by onnx's converter, down by the steps of ``opset_down``.

onnx's converter has no way down for most operators (no adapter at all from 14 to 13 or 13 to 12 for Add or Relu),
and some of its ways up are wrong (Hardmax, GroupNormalization, 1.23.2). Weights do not go through it: it would
copy each of them several times and ends at 2 GB. The result is not checked here; ``onnx_files.write`` does.
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

SMALL = 1024  # elements; a bigger initializer is a weight, and none of the converter's business
USUAL_IR = 8


def convert(model: ModelProto, opset: int) -> ModelProto:
    """The model, which is tidy, at ``opset``; changes the one given. Raises JobFailed where an operator has no form there.

    Metadata of the file may be lost: ``onnx_metadata`` keeps it.
    """
    found = onnx_version.opset(model)
    if found == opset:
        return model
    try:
        model = _expanded(model, found, opset)
        out = _up(model, found, opset) if opset > found else _down(model, found, opset)
    except Refused as error:
        raise JobFailed(f"The model cannot be brought from opset {found} to {opset}: {error}.") from None
    needed = helper.find_min_ir_version_for(list(out.opset_import), ignore_unknown=True)
    # a reader of an older opset is an older reader; what IR 9 and later add are dtypes of a few bits
    out.ir_version = max(out.ir_version, needed) if opset > found else min(out.ir_version, max(needed, USUAL_IR))
    return out


def _since(name: str, opset: int) -> int:
    """Which version of an operator of ai.onnx an opset has; 0 for none."""
    try:
        return onnx.defs.get_schema(name, opset, "").since_version
    except onnx.defs.SchemaError:
        return 0


def _expanded(model: ModelProto, found: int, opset: int) -> ModelProto:
    """Operators that the older opset lacks, and those that changed their meaning, as what they are made of."""
    for _ in range(8):  # a function's body may call another one
        names = {n.op_type for n in all_nodes(model.graph.node) if n.domain in ("", "ai.onnx")}
        new = {n for n in names if _since(n, found) > opset and not _since(n, opset)}
        changed = {n for n in names & REDEFINED if _since(n, found) != _since(n, opset)}
        wanted = [n for n in sorted(new | changed) if _is_function(n, found)]
        if not wanted:
            break
        try:
            _typed(model)
            _defaults(model, set(wanted), found)
            model = onnx.inliner.inline_selected_functions(model, [("", n) for n in wanted], inline_schema_functions=True)
            del model.graph.value_info[:]
        except RuntimeError as error:
            raise Refused(f"{', '.join(wanted)} cannot be written out: {clean(str(error))}") from None
    return model


def _typed(model: ModelProto) -> None:
    """Writes down the type of every value of the main graph: what a function is made of may depend on it."""
    types = types_of(model)
    named = {v.name for v in (*model.graph.input, *model.graph.output)}
    values = {t.name for t in model.graph.initializer} | {name for node in model.graph.node for name in node.output}
    del model.graph.value_info[:]
    model.graph.value_info.extend(
        ValueInfoProto(name=name, type=types[name]) for name in sorted(values - named) if name in types
    )


def _defaults(model: ModelProto, names: set[str], opset: int) -> None:
    """Attributes that these operators have by default, said: onnx's inliner (1.23) forgets a default."""
    for node in all_nodes(model.graph.node):
        if node.op_type in names and node.domain in ("", "ai.onnx"):
            said = {a.name for a in node.attribute}
            for name, known in onnx.defs.get_schema(node.op_type, opset, "").attributes.items():
                if name not in said and known.default_value.type:
                    node.attribute.append(known.default_value)


def _is_function(name: str, opset: int) -> bool:
    schema = onnx.defs.get_schema(name, opset, "")
    return schema.has_function or schema.has_context_dependent_function


def types_of(model: ModelProto) -> dict[str, TypeProto]:
    """Types by name, subgraphs included. Where inference fails: what is declared."""
    inferred = model
    if model.ByteSize() < onnx_version.WHOLE:
        try:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except Exception:  # whoever needs a rank says that it is not known
            inferred = model
    found: dict[str, TypeProto] = {}

    def collect(graph: GraphProto) -> None:
        found.update((v.name, v.type) for v in (*graph.value_info, *graph.output, *graph.input))
        found.update((t.name, helper.make_tensor_type_proto(t.data_type, t.dims)) for t in graph.initializer)
        for node in graph.node:
            for inner in subgraphs(node):
                collect(inner)

    collect(inferred.graph)
    return found


def _down(model: ModelProto, found: int, opset: int) -> ModelProto:
    types = types_of(model)
    for level in range(found, opset, -1):
        _down_graph(model.graph, level, types, None)
    _imports(model, opset)
    return model


def _down_graph(proto: GraphProto, level: int, types: dict[str, TypeProto], outer: Graph | None) -> None:
    graph, nodes = Graph(proto, types, outer), []
    for node in proto.node:
        for inner in subgraphs(node):
            _down_graph(inner, level, types, graph)
        ours = node.domain in ("", "ai.onnx") and _since(node.op_type, level) == level
        try:
            nodes += down(node, level, graph) if ours else [node]
        except Refused as error:
            raise Refused(f"the node {(node.name or node.output[0])[:100]!r} is a {node.op_type}, and {error}") from None
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.node[:]
    proto.node.extend(nodes)
    del proto.value_info[:]  # of what was there before


def _imports(model: ModelProto, opset: int) -> None:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset


def _up(model: ModelProto, found: int, opset: int) -> ModelProto:
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
    """By onnx's converter, which sees no weight. Raises Refused."""
    weights = [t for t in model.graph.initializer if np.prod(t.dims, dtype=np.int64) > SMALL]
    listed = {v.name for v in model.graph.input}
    names = {t.name for t in weights}
    light = ModelProto()
    light.CopyFrom(_without(model, names))
    light.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in weights if t.name not in listed
    )
    try:
        out = version_converter.convert_version(light, opset)
    except Exception as error:  # RuntimeErrors of its C++ part
        raise Refused(clean(str(error))) from None
    kept = [v for v in out.graph.input if v.name not in names or v.name in listed]
    del out.graph.input[:]
    out.graph.input.extend(kept)
    out.graph.initializer.extend(weights)
    _imports(out, opset)
    return out


def _without(model: ModelProto, names: set[str]) -> ModelProto:
    """A copy that never held the weights in ``names``."""
    out = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import, graph=GraphProto())
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            getattr(out.graph, field.name).MergeFrom(value) if field.is_repeated else setattr(out.graph, field.name, value)
    out.graph.initializer.extend(t for t in model.graph.initializer if t.name not in names)
    return out


def _flat_hardmax(graph: GraphProto, taken: set[str]) -> None:
    """Until opset 12 Hardmax takes everything from its axis on as one row; onnx's converter forgets that."""
    nodes = []
    for node in graph.node:
        for inner in subgraphs(node):
            _flat_hardmax(inner, taken)
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
