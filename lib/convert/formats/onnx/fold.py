"""Folds the constant subgraphs of an ONNX model, and nothing else: names, weights and layers stay as they are.

Used before weights are rounded: values derived from weights (a norm, the exp of a scale) are then computed here in
float32 by onnxruntime, not in float16 by the converted model.
"""

from __future__ import annotations

import tempfile
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx.opset.graph import subgraphs
from lib.convert.formats.onnx.order import reads
from lib.onnx_model.runtime import CPU, options

GROWTH = 1 << 16  # elements; a folded value may be this large even if its inputs are smaller
BY_CHANCE = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"}
QUANTISED = {"QuantizeLinear", "DequantizeLinear"}  # folding these would turn quantised weights back into floats


def fold(model: ModelProto) -> ModelProto:
    """Folds ``model`` (already tidied) in place and returns it; unchanged if nothing can be folded."""
    parts, kept = _constant_nodes(model)
    wanted = _read_values(kept, model.graph, {name for node in parts for name in node.output if name})
    if not wanted:
        return model
    values = _compute(model, parts, wanted)
    if values is None:
        return model
    read = {name for node in kept for name in reads(node)} | {v.name for v in model.graph.output}
    folded_inputs = {name for node in parts for name in node.input} - read  # only the folded nodes read these
    nodes = [
        NodeProto.FromString(n.SerializeToString())
        for n in kept
        if n.op_type != "Constant" or n.output[0] not in folded_inputs
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    input_names = {v.name for v in model.graph.input}
    weights = [t for t in model.graph.initializer if t.name not in folded_inputs or t.name in input_names]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    folded_outputs = {name for node in parts for name in node.output}
    value_infos = [v for v in model.graph.value_info if v.name not in folded_outputs]
    del model.graph.value_info[:]
    model.graph.value_info.extend(value_infos)
    return model


def _constant_nodes(model: ModelProto) -> tuple[list[NodeProto], list[NodeProto]]:
    """Splits the nodes into those that can be folded (Constants excluded) and the rest."""
    graph = model.graph
    sizes = _sizes(model)
    known = {t.name: prod(t.dims) for t in graph.initializer} | {"": 0}
    for value in graph.input:
        known.pop(value.name, None)  # the caller may override it
    results = {v.name for v in graph.output}
    constants = {n.output[0]: n for n in graph.node if n.op_type == "Constant" and len(n.output) == 1}
    known |= {name: sizes[name] for name in constants if name in sizes}
    parts, kept = [], []
    for node in graph.node:
        names = [name for name in node.output if name]
        largest = max([GROWTH, *(known[name] for name in node.input if name in known)])
        if (
            node.op_type != "Constant"
            and all(name in known for name in node.input)
            and node.op_type not in BY_CHANCE | QUANTISED
            and node.domain == ""
            and not any(True for _ in subgraphs(node))
            and not results.intersection(names)
            and all(sizes.get(name, largest + 1) <= largest for name in names)
        ):
            parts.append(node)
            known |= {name: sizes[name] for name in names}
        else:
            kept.append(node)
    return parts, kept


def _sizes(model: ModelProto) -> dict[str, int]:
    """Returns the element count of every value of the main graph with a known static shape."""
    from lib.convert.formats.onnx.tidy import light

    try:
        graph = onnx.shape_inference.infer_shapes(light(model), data_prop=True).graph
    except Exception:  # raised by onnx or protobuf
        return {}
    sizes = {}
    for value in graph.value_info:
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in shape.dim):
            sizes[value.name] = prod(d.dim_value for d in shape.dim)
    return sizes


def _read_values(kept: list[NodeProto], graph: GraphProto, folded: set[str]) -> list[str]:
    """Returns the folded values that the rest of the graph reads, sorted."""
    read = {name for node in kept for name in reads(node)}
    return sorted(folded & read)


def _compute(model: ModelProto, parts: list[NodeProto], wanted: list[str]) -> dict[str, np.ndarray] | None:
    """Computes the ``wanted`` values in onnxruntime; None if it rejects the subgraph, so that nothing is folded."""
    import onnxruntime

    read = {name for node in parts for name in node.input}
    constants = [n for n in model.graph.node if n.op_type == "Constant" and n.output[0] in read]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    initializers = [t for t in model.graph.initializer if t.name in read]
    graph = helper.make_graph([*constants, *parts], "constants", [], outputs, initializers)
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=max(model.ir_version, 4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / onnx_files.NAME
        onnx_files.save(part, path)
        try:
            arrays = onnxruntime.InferenceSession(str(path), options(), providers=CPU).run(None, {})
        except MemoryError:
            raise
        except Exception:  # onnxruntime's errors share no public base class
            return None
    if not all(isinstance(value, np.ndarray) for value in arrays):
        return None
    return dict(zip(wanted, arrays, strict=True))
