"""A float64 ONNX model in float32, as the tools want it that know only the step from float32 down."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, helper, numpy_helper

from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.convert.formats.onnx.names import every_name, rename, unused

KINDS = {"to", "dtype", "output_dtype", "stash_type"}  # attributes that name an element type


def has_float64(model: ModelProto) -> bool:
    """Whether anything in the model is float64."""
    return any(
        any(t.data_type == TensorProto.DOUBLE for t in graph.initializer)
        or any(_is_float64(v.type) for v in (*graph.input, *graph.output, *graph.value_info))
        or any(a.t.data_type == TensorProto.DOUBLE or _names_float64(a) for node in graph.node for a in node.attribute)
        for graph in onnx_tidy.graphs(model.graph)
    )


def to_float32(model: ModelProto, *, keep_io: bool) -> ModelProto:
    """Changes ``model``, which is tidy. ``keep_io``: inputs and outputs stay float64, with casts behind and before them."""
    if keep_io:
        _add_casts(model.graph)
    kept = {v.name for v in (*model.graph.input, *model.graph.output)} if keep_io else set()
    for graph in onnx_tidy.graphs(model.graph):
        for tensor in graph.initializer:
            _convert_tensor(tensor)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.name not in kept:
                _convert_type(value.type)
        for node in graph.node:
            if node.op_type == "Cast" and node.output[0] in kept:
                continue
            for a in node.attribute:
                if a.HasField("t"):
                    _convert_tensor(a.t)
                if _names_float64(a):
                    a.i = TensorProto.FLOAT
    return model


def _add_casts(graph: GraphProto) -> None:
    """Every float64 input and output of the main graph gets a float32 twin inside."""
    taken, held = every_name(graph), {t.name for t in graph.initializer}
    before, after = [], []
    for value in graph.input:
        if _is_float64(value.type) and value.name not in held:
            inner = unused(f"{value.name}_float32", taken)
            taken.add(inner)
            before.append((value.name, inner))
    for value in graph.output:
        if _is_float64(value.type):
            inner = unused(f"{value.name}_float32", taken)
            taken.add(inner)
            after.append((inner, value.name))
    declared = {v.name: v for v in (*graph.input, *graph.output)}
    names = [(v, v.name) for v in declared.values()]
    rename(graph, dict(before) | {outer: inner for inner, outer in after})
    for value, name in names:
        value.name = name
    nodes = list(graph.node)
    first = [helper.make_node("Cast", [outer], [inner], f"{inner}_cast", to=TensorProto.FLOAT) for outer, inner in before]
    last = [helper.make_node("Cast", [inner], [outer], f"{inner}_cast", to=TensorProto.DOUBLE) for inner, outer in after]
    copies = [type(n).FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend([*first, *copies, *last])


def _is_float64(kind: TypeProto) -> bool:
    return kind.tensor_type.elem_type == TensorProto.DOUBLE


def _names_float64(attribute: object) -> bool:
    return attribute.name in KINDS and attribute.i == TensorProto.DOUBLE  # type: ignore[attr-defined]


def _convert_type(kind: TypeProto) -> None:
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type == TensorProto.DOUBLE:
        kind.tensor_type.elem_type = TensorProto.FLOAT
    for inner in ("sequence_type", "optional_type"):
        if kind.HasField(inner):
            _convert_type(getattr(kind, inner).elem_type)


def _convert_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.DOUBLE:
        with np.errstate(over="ignore"):
            small = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(small, tensor.name))
