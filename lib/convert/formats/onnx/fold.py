"""Folds the constant parts of an ONNX graph, and nothing else: names, weights and layers stay as they are.

For precisions that round weights: what the graph makes of its weights (a norm of them, a scale as exp of another) is
computed in float32 here, not in float16 by the converted model. onnxruntime computes it.
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

GROWTH = 1 << 16  # elements that a folded value may have whatever it is made of
BY_CHANCE = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"}
QUANTISED = {"QuantizeLinear", "DequantizeLinear"}  # folded, the weights would be float again


def fold(model: ModelProto) -> ModelProto:
    """Changes ``model``, which is tidy; of a model that cannot be folded nothing is changed."""
    parts, kept = _constant_nodes(model)
    wanted = _read_values(kept, model.graph, {name for node in parts for name in node.output if name})
    if not wanted:
        return model
    values = _compute(model, parts, wanted)
    if values is None:
        return model
    read = {name for node in kept for name in reads(node)} | {v.name for v in model.graph.output}
    given = {name for node in parts for name in node.input} - read  # read by nothing else
    nodes = [
        NodeProto.FromString(n.SerializeToString()) for n in kept if n.op_type != "Constant" or n.output[0] not in given
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    listed = {v.name for v in model.graph.input}
    weights = [t for t in model.graph.initializer if t.name not in given or t.name in listed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    gone = {name for node in parts for name in node.output}
    notes = [v for v in model.graph.value_info if v.name not in gone]
    del model.graph.value_info[:]
    model.graph.value_info.extend(notes)
    return model


def _constant_nodes(model: ModelProto) -> tuple[list[NodeProto], list[NodeProto]]:
    """Nodes that depend on no input, without lone constants; and the others."""
    graph = model.graph
    sizes = _sizes(model)
    known = {t.name: prod(t.dims) for t in graph.initializer} | {"": 0}
    for value in graph.input:
        known.pop(value.name, None)  # a caller may give another one
    results = {v.name for v in graph.output}
    lone = {n.output[0]: n for n in graph.node if n.op_type == "Constant" and len(n.output) == 1}
    known |= {name: sizes[name] for name in lone if name in sizes}
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
    """Elements of every value of the main graph whose shape inference knows."""
    from lib.convert.formats.onnx.tidy import light

    try:
        graph = onnx.shape_inference.infer_shapes(light(model), data_prop=True).graph
    except Exception:  # onnx's own, and protobuf's
        return {}
    found = {}
    for value in graph.value_info:
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in shape.dim):
            found[value.name] = prod(d.dim_value for d in shape.dim)
    return found


def _read_values(kept: list[NodeProto], graph: GraphProto, folded: set[str]) -> list[str]:
    """Which folded values the rest of the graph reads."""
    read = {name for node in kept for name in reads(node)}
    return sorted(folded & read)


def _compute(model: ModelProto, parts: list[NodeProto], wanted: list[str]) -> dict[str, np.ndarray] | None:
    """None where onnxruntime refuses: then nothing is folded."""
    import onnxruntime

    read = {name for node in parts for name in node.input}
    constants = [n for n in model.graph.node if n.op_type == "Constant" and n.output[0] in read]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    held = [t for t in model.graph.initializer if t.name in read]
    graph = helper.make_graph([*constants, *parts], "constants", [], outputs, held)
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=max(model.ir_version, 4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / onnx_files.NAME
        onnx_files.save(part, path)
        try:
            found = onnxruntime.InferenceSession(str(path), options(), providers=CPU).run(None, {})
        except MemoryError:
            raise
        except Exception:  # onnxruntime's errors share no public base class
            return None
    if not all(isinstance(value, np.ndarray) for value in found):
        return None
    return dict(zip(wanted, found, strict=True))
