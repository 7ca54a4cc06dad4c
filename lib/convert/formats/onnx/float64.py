"""Converts float64 ONNX models to float32, for tools that only support float32 as their starting precision."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, helper, numpy_helper

from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.convert.formats.onnx.names import every_name, rename, unused

KINDS = {"to", "dtype", "output_dtype", "stash_type"}  # attributes that name an element type


def has_float64(model: ModelProto) -> bool:
    """Returns whether any tensor, value or attribute of the model is float64."""
    return any(
        any(t.data_type == TensorProto.DOUBLE for t in graph.initializer)
        or any(_is_float64(v.type) for v in (*graph.input, *graph.output, *graph.value_info))
        or any(a.t.data_type == TensorProto.DOUBLE or _names_float64(a) for node in graph.node for a in node.attribute)
        for graph in onnx_tidy.graphs(model.graph)
    )


def to_float32(model: ModelProto, *, keep_io: bool) -> ModelProto:
    """Converts ``model`` (already tidied) in place. ``keep_io``: inputs and outputs stay float64, with Casts inserted."""
    if keep_io:
        _add_casts(model.graph)
    io_names = {v.name for v in (*model.graph.input, *model.graph.output)} if keep_io else set()
    for graph in onnx_tidy.graphs(model.graph):
        for tensor in graph.initializer:
            _convert_tensor(tensor)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.name not in io_names:
                _convert_type(value.type)
        for node in graph.node:
            if node.op_type == "Cast" and node.output[0] in io_names:
                continue
            for a in node.attribute:
                if a.HasField("t"):
                    _convert_tensor(a.t)
                if _names_float64(a):
                    a.i = TensorProto.FLOAT
    return model


def _add_casts(graph: GraphProto) -> None:
    """Adds a Cast behind every float64 input and before every float64 output of the main graph."""
    used_names, initializers = every_name(graph), {t.name for t in graph.initializer}
    before, after = [], []
    for value in graph.input:
        if _is_float64(value.type) and value.name not in initializers:
            float32_name = unused(f"{value.name}_float32", used_names)
            used_names.add(float32_name)
            before.append((value.name, float32_name))
    for value in graph.output:
        if _is_float64(value.type):
            float32_name = unused(f"{value.name}_float32", used_names)
            used_names.add(float32_name)
            after.append((float32_name, value.name))
    declared = {v.name: v for v in (*graph.input, *graph.output)}
    names = [(v, v.name) for v in declared.values()]
    rename(graph, dict(before) | {outer: float32_name for float32_name, outer in after})
    for value, name in names:
        value.name = name
    nodes = list(graph.node)
    first = [
        helper.make_node("Cast", [outer], [float32_name], f"{float32_name}_cast", to=TensorProto.FLOAT)
        for outer, float32_name in before
    ]
    last = [
        helper.make_node("Cast", [float32_name], [outer], f"{float32_name}_cast", to=TensorProto.DOUBLE)
        for float32_name, outer in after
    ]
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
    for element_field in ("sequence_type", "optional_type"):
        if kind.HasField(element_field):
            _convert_type(getattr(kind, element_field).elem_type)


def _convert_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.DOUBLE:
        with np.errstate(over="ignore"):
            small = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(small, tensor.name))
