"""Rewrites ONNX graphs for an emulation: changes float32 constants and inserts nodes after float32 tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx import float64 as onnx_float64
from lib.errors import JobFailed
from lib.onnx_model.runtime import CPU, options, ready
from lib.onnx_model.words import clean

Arrays = dict[str, np.ndarray]
NodeMaker = Callable[[str, str], tuple[list[NodeProto], list[TensorProto]]]  # (from, to) -> nodes and their constants
RAW = "__before_rounding"


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yields the graph and the subgraphs of its nodes, recursively."""
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                yield from graphs(inner)


def float_tensors(model: ModelProto) -> set[str]:
    """Returns the names of float32 node outputs that shape inference knows, including those in subgraphs."""
    bare = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import, functions=model.functions)
    bare.graph.CopyFrom(_without_weights(model.graph))
    with contextlib.suppress(Exception):  # C++ exceptions of onnx; tensors of unknown type are not rounded
        bare = onnx.shape_inference.infer_shapes(bare)
    names: set[str] = set()
    for graph in graphs(bare.graph):
        value_infos = [v for infos in (graph.value_info, graph.output) for v in infos]
        names |= {v.name for v in value_infos if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names


def _without_weights(graph: GraphProto) -> GraphProto:
    """Returns the graph with large initializers turned into inputs: shape inference needs only their types."""
    out = GraphProto(name="bare", node=graph.node, input=graph.input, output=graph.output, value_info=graph.value_info)
    input_names = {v.name for v in graph.input}
    for tensor in graph.initializer:
        if int(np.prod(tensor.dims)) <= 1024:
            out.initializer.append(tensor)
        elif tensor.name not in input_names:
            out.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return out


def change_constants(model: ModelProto, change: Callable[[str, np.ndarray], np.ndarray]) -> None:
    """Replaces every float32 initializer and Constant with ``change(name, values)``, in place."""
    for graph in graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                _replace(tensor, change(tensor.name, numpy_helper.to_array(tensor)))
        for node in graph.node:
            if node.op_type != "Constant":
                continue
            for a in node.attribute:
                if a.name == "value" and a.t.data_type == TensorProto.FLOAT:
                    _replace(a.t, change(node.output[0], numpy_helper.to_array(a.t)))
                elif a.name == "value_float":
                    a.f = float(change(node.output[0], np.array(a.f, np.float32)))
                elif a.name == "value_floats":
                    values = change(node.output[0], np.array(a.floats, np.float32))
                    del a.floats[:]
                    a.floats.extend(values.tolist())


def _replace(tensor: TensorProto, values: np.ndarray) -> None:
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), name))


def insert_after(model: ModelProto, names: set[str], make: NodeMaker) -> None:
    """Inserts ``make``'s nodes in place after the node outputs and graph inputs in ``names``; consumers read the result."""
    for graph in graphs(model.graph):
        nodes: list[NodeProto] = []
        if graph is model.graph:
            initializers = {t.name for t in graph.initializer}
            for value in graph.input:
                if value.name in names and value.name not in initializers:
                    nodes += _make_nodes(model, value.name, make)
                    value.name += RAW
        for node in graph.node:
            nodes.append(node)
            if node.op_type == "Constant":
                continue
            for k, name in enumerate(node.output):
                if name in names:
                    added = _make_nodes(model, name, make)
                    node.output[k] = name + RAW
                    nodes += added
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def _make_nodes(model: ModelProto, name: str, make: NodeMaker) -> list[NodeProto]:
    nodes, constants = make(name + RAW, name)
    model.graph.initializer.extend(constants)  # subgraphs see the main graph's initializers
    return nodes


def run(model: ModelProto, inputs: list[Arrays]) -> list[Arrays]:
    """Returns the outputs of ``model`` for each of ``inputs``. Raises JobFailed if onnxruntime refuses model or input."""
    settings = options()
    # graph optimisation would remove the rounding nodes, and does not pay off for a few runs
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=CPU)
        input_names = {i.name.removesuffix(RAW): i.name for i in session.get_inputs()}
        names = [o.name for o in session.get_outputs()]
        results = []
        for arrays in inputs:
            feed = {input_names[name]: value for name, value in arrays.items() if name in input_names}
            results.append(dict(zip(names, ready(session, feed)(), strict=True)))
        return results
    except Exception as error:  # onnxruntime's errors share no public base class
        raise JobFailed(f"onnxruntime refuses the rounded model: {clean(str(error))}") from None


def opened(folder: Any) -> ModelProto:
    """Reads the model as the edges do: functions inlined, opset 7 or newer, float64 as float32. Raises InvalidFile."""
    model = onnx_files.tidied(folder)
    return onnx_float64.to_float32(model, keep_io=True) if onnx_float64.has_float64(model) else model


def copied(model: ModelProto) -> ModelProto:
    """Returns a copy of the model."""
    out = ModelProto()
    out.CopyFrom(model)
    return out


def float_inputs(model: ModelProto) -> set[str]:
    """Returns the names of float32 graph inputs that are not initializers."""
    initializers = {t.name for t in model.graph.initializer}
    values = (v for v in model.graph.input if v.name not in initializers)
    return {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
