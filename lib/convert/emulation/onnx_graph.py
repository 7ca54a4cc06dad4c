"""Changes an ONNX graph for an emulation: rewrites float32 constants, and inserts nodes after float32 tensors."""

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
    """The graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                yield from graphs(inner)


def float_tensors(model: ModelProto) -> set[str]:
    """Names of float32 tensors that nodes make, subgraphs included, as far as inference knows them."""
    bare = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import, functions=model.functions)
    bare.graph.CopyFrom(_without_weights(model.graph))
    with contextlib.suppress(Exception):  # raised by its C++ part; unknown tensors are not rounded
        bare = onnx.shape_inference.infer_shapes(bare)
    found: set[str] = set()
    for graph in graphs(bare.graph):
        known = [v for some in (graph.value_info, graph.output) for v in some]
        found |= {v.name for v in known if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found


def _without_weights(graph: GraphProto) -> GraphProto:
    """The graph with large initializers as inputs, since only their types are needed."""
    out = GraphProto(name="bare", node=graph.node, input=graph.input, output=graph.output, value_info=graph.value_info)
    taken = {v.name for v in graph.input}
    for tensor in graph.initializer:
        if int(np.prod(tensor.dims)) <= 1024:
            out.initializer.append(tensor)
        elif tensor.name not in taken:
            out.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return out


def change_constants(model: ModelProto, change: Callable[[str, np.ndarray], np.ndarray]) -> None:
    """Replaces every float32 initializer and Constant by ``change(name, values)``, in place."""
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
    """Inserts the nodes of ``make`` after every node output and graph input of ``names``; consumers read their output."""
    for graph in graphs(model.graph):
        made: list[NodeProto] = []
        if graph is model.graph:
            held = {t.name for t in graph.initializer}
            for value in graph.input:
                if value.name in names and value.name not in held:
                    made += _make_nodes(model, value.name, make)
                    value.name += RAW
        for node in graph.node:
            made.append(node)
            if node.op_type == "Constant":
                continue
            for k, name in enumerate(node.output):
                if name in names:
                    added = _make_nodes(model, name, make)
                    node.output[k] = name + RAW
                    made += added
        copies = [NodeProto.FromString(node.SerializeToString()) for node in made]
        del graph.node[:]
        graph.node.extend(copies)


def _make_nodes(model: ModelProto, name: str, make: NodeMaker) -> list[NodeProto]:
    nodes, constants = make(name + RAW, name)
    model.graph.initializer.extend(constants)  # subgraphs see those of the main graph
    return nodes


def run(model: ModelProto, inputs: list[Arrays]) -> list[Arrays]:
    """Every output of ``model`` for every input. Raises JobFailed where onnxruntime refuses."""
    settings = options()
    # optimisation would remove the nodes that round; for a few runs it is not worth its time anyway
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=CPU)
        taken = {i.name.removesuffix(RAW): i.name for i in session.get_inputs()}
        names = [o.name for o in session.get_outputs()]
        found = []
        for some in inputs:
            given = {taken[name]: value for name, value in some.items() if name in taken}
            found.append(dict(zip(names, ready(session, given)(), strict=True)))
        return found
    except Exception as error:  # onnxruntime's errors share no public base class
        raise JobFailed(f"onnxruntime refuses the rounded model: {clean(str(error))}") from None


def opened(folder: Any) -> ModelProto:
    """As every edge reads it: without functions of its own, of opset 7 or newer, float64 as float32. Raises InvalidFile."""
    model = onnx_files.tidied(folder)
    return onnx_float64.to_float32(model, keep_io=True) if onnx_float64.has_float64(model) else model


def copied(model: ModelProto) -> ModelProto:
    out = ModelProto()
    out.CopyFrom(model)
    return out


def float_inputs(model: ModelProto) -> set[str]:
    held = {t.name for t in model.graph.initializer}
    values = (v for v in model.graph.input if v.name not in held)
    return {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
