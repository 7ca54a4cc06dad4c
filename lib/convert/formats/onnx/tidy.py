"""Normalises ONNX graphs for other tools without changing what the model computes.

Exporters write things that are legal, or nearly so, but break some tool: Constants with plain numbers, no ai.onnx
import, dimensions named "?", nodes placed before the values their subgraphs read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, ValueInfoProto, helper, numpy_helper

from lib.convert.formats.onnx import order as onnx_order
from lib.convert.formats.onnx.names import unused
from lib.convert.formats.onnx.opset.graph import constant_value, subgraphs
from lib.errors import InvalidFile
from lib.onnx_model.functions import all_nodes
from lib.onnx_model.signature import nameless

NUMBERS = {"value_float", "value_floats", "value_int", "value_ints"}
DEFAULT_OPSET = 17  # ai.onnx opset for models that do not import it, if their IR version allows
INPUTS_ARE_FREE = 4  # first IR version that does not require initializers to be listed as inputs


def tidy(model: ModelProto) -> ModelProto:
    """Normalises ``model`` in place and returns it; its local functions must be inlined. Raises InvalidFile for cycles."""
    _imports(model)
    model.graph.name = model.graph.name or "graph"
    for graph in graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            _unnamed(value)
    for node in all_nodes(model.graph.node):
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name in NUMBERS:
            value = constant_value(node)
            node.attribute[0].CopyFrom(helper.make_attribute("value", numpy_helper.from_array(np.asarray(value))))
    _node_names(model)
    try:
        onnx_order.sort(model.graph)
    except onnx_order.Circle as error:
        raise InvalidFile(f"The model cannot be run: {error}.") from None
    drop_stale_types(model)
    return model


def drop_stale_types(model: ModelProto) -> None:
    """Removes ``value_info`` if it contradicts the operators: runtimes ignore it, tools do not."""
    if _stale(model):
        for graph in graphs(model.graph):
            del graph.value_info[:]


def weights_are_no_inputs(model: ModelProto) -> list[str]:
    """Removes initializers from the inputs, where a caller could override them. Returns messages about it."""
    initializers = {t.name for t in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    listed = [v.name for v in model.graph.input if v.name in initializers]
    if not listed:
        return []
    kept = [v for v in model.graph.input if v.name not in initializers]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    message = f"{len(listed)} weights that were listed among the inputs are now constants"
    if (ir_version := model.ir_version) < INPUTS_ARE_FREE:
        model.ir_version = INPUTS_ARE_FREE
        return [f"{message}; so the IR version is now {INPUTS_ARE_FREE} (was {ir_version})."]
    return [f"{message}: callers can no longer replace them."]


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yields ``graph`` and all its subgraphs, recursively."""
    yield graph
    for node in graph.node:
        for subgraph in subgraphs(node):
            yield from graphs(subgraph)


def _imports(model: ModelProto) -> None:
    """Keeps one import per domain, with ai.onnx as "" and always present: tools insert Casts into the graph."""
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        versions[domain] = max(versions.get(domain, 0), entry.version)
    if "" not in versions:
        candidates = [n for n in range(8, DEFAULT_OPSET + 1) if _ir(n) <= max(model.ir_version, _ir(8))]
        versions[""] = candidates[-1]
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    for node in all_nodes(model.graph.node):
        if node.domain == "ai.onnx":
            node.domain = ""


def _node_names(model: ModelProto) -> None:
    """Makes node names unique: some tools identify nodes by name."""
    nodes = list(all_nodes(model.graph.node))
    counts, taken = Counter(node.name for node in nodes), {node.name for node in nodes}
    for node in nodes:
        if node.name and counts[node.name] > 1:
            counts[node.name] -= 1
            node.name = unused(node.name, taken)
            taken.add(node.name)


def _ir(opset: int) -> int:
    return helper.find_min_ir_version_for([helper.make_opsetid("", opset)])


def _unnamed(value: ValueInfoProto) -> None:
    """Clears placeholder names ("?", "") and negative sizes of dimensions."""
    pending = [value.type]
    while pending:
        value_type = pending.pop()
        for element_field in ("sequence_type", "optional_type"):
            if value_type.HasField(element_field):
                pending.append(getattr(value_type, element_field).elem_type)
        for dim in value_type.tensor_type.shape.dim if value_type.HasField("tensor_type") else ():
            # "" too: onnxslim (0.1.98) treats two dimensions named "" as equal; some exporters write -1 for a dynamic one
            if (dim.HasField("dim_param") and nameless(dim.dim_param)) or dim.dim_value < 0:
                dim.ClearField("value")


def _stale(model: ModelProto) -> bool:
    """Returns whether type inference fails with the model's ``value_info`` and succeeds without it."""
    if not any(graph.value_info for graph in graphs(model.graph)) or _infers(model):
        return False
    bare = light(model)
    for graph in graphs(bare.graph):
        del graph.value_info[:]
    return _infers(bare)


def _infers(model: ModelProto) -> bool:
    try:
        onnx.shape_inference.infer_shapes(light(model), check_type=True, strict_mode=True)
    except Exception:  # raised by onnx or protobuf
        return False
    return True


def light(model: ModelProto) -> ModelProto:
    """Returns a copy with its large weights as inputs: enough for type and shape inference at any model size."""
    large = {t.name for t in model.graph.initializer if np.prod(t.dims, dtype=np.float64) > 1024}
    if not large:
        copy = ModelProto()
        copy.CopyFrom(model)
        return copy
    copy = ModelProto(ir_version=max(model.ir_version, INPUTS_ARE_FREE), opset_import=model.opset_import, graph=GraphProto())
    copy.functions.extend(model.functions)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            getattr(copy.graph, field.name).MergeFrom(value) if field.is_repeated else setattr(copy.graph, field.name, value)
    listed = {v.name for v in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.name not in large:
            copy.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return copy
