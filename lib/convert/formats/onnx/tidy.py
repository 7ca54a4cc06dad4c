"""What every tool for ONNX graphs may take for granted, made so: nothing here changes what the model computes.

Exporters write much that is legal or nearly so and that one tool or another trips over: constants as plain numbers,
no import of ai.onnx, dimensions called "?", nodes before what they read inside a branch.
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
DEFAULT_OPSET = 17  # the opset of ai.onnx for models that have no operator of it, if their IR version allows it
INPUTS_ARE_FREE = 4  # the IR version from which weights need not be listed among the inputs


def tidy(model: ModelProto) -> ModelProto:
    """Changes ``model``, whose own functions are inlined already. Raises InvalidFile where no order is possible."""
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
    """Takes out notes of types inside the graph that contradict its operators; runtimes do not read them, tools do."""
    if _stale(model):
        for graph in graphs(model.graph):
            del graph.value_info[:]


def weights_are_no_inputs(model: ModelProto) -> list[str]:
    """Takes initializers out of the inputs, where they could be replaced by a caller. Says so."""
    held = {t.name for t in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    listed = [v.name for v in model.graph.input if v.name in held]
    if not listed:
        return []
    kept = [v for v in model.graph.input if v.name not in held]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    words = f"{len(listed)} weights that were listed among the inputs are constants now"
    if (found := model.ir_version) < INPUTS_ARE_FREE:
        model.ir_version = INPUTS_ARE_FREE
        return [f"{words}; so the IR version is {INPUTS_ARE_FREE}, it was {found}."]
    return [f"{words}: a caller cannot replace them any more."]


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """``graph`` and every graph inside it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def _imports(model: ModelProto) -> None:
    """One entry a domain, ai.onnx under its short name and always there: tools put their casts into the graph."""
    found: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        found[domain] = max(found.get(domain, 0), entry.version)
    if "" not in found:
        fits = [n for n in range(8, DEFAULT_OPSET + 1) if _ir(n) <= max(model.ir_version, _ir(8))]
        found[""] = fits[-1]
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in found.items())
    for node in all_nodes(model.graph.node):
        if node.domain == "ai.onnx":
            node.domain = ""


def _node_names(model: ModelProto) -> None:
    """No two nodes of one name: some tools know nodes by it."""
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
    kinds = [value.type]
    while kinds:
        kind = kinds.pop()
        for inner in ("sequence_type", "optional_type"):
            if kind.HasField(inner):
                kinds.append(getattr(kind, inner).elem_type)
        for dim in kind.tensor_type.shape.dim if kind.HasField("tensor_type") else ():
            # "" too: onnxslim (0.1.98) takes two dimensions called "" for equal; and -1 is what some write for a free one
            if (dim.HasField("dim_param") and nameless(dim.dim_param)) or dim.dim_value < 0:
                dim.ClearField("value")


def _stale(model: ModelProto) -> bool:
    if not any(graph.value_info for graph in graphs(model.graph)) or _infers(model):
        return False
    bare = light(model)
    for graph in graphs(bare.graph):
        del graph.value_info[:]
    return _infers(bare)


def _infers(model: ModelProto) -> bool:
    try:
        onnx.shape_inference.infer_shapes(light(model), check_type=True, strict_mode=True)
    except Exception:  # onnx's own, and protobuf's
        return False
    return True


def light(model: ModelProto) -> ModelProto:
    """A copy whose large weights are inputs instead: as good for types and shapes, whatever the model's size."""
    large = {t.name for t in model.graph.initializer if np.prod(t.dims, dtype=np.float64) > 1024}
    if not large:
        out = ModelProto()
        out.CopyFrom(model)
        return out
    out = ModelProto(ir_version=max(model.ir_version, INPUTS_ARE_FREE), opset_import=model.opset_import, graph=GraphProto())
    out.functions.extend(model.functions)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            getattr(out.graph, field.name).MergeFrom(value) if field.is_repeated else setattr(out.graph, field.name, value)
    listed = {v.name for v in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.name not in large:
            out.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            out.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return out
