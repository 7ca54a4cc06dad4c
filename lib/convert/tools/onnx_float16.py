"""Converts ONNX to float16 with onnxruntime's tool: prepares the model, repairs the result, checks value ranges."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.onnx import blind_spots as onnx_blind_spots
from lib.convert.formats.onnx import order as onnx_order
from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.convert.formats.onnx import types as onnx_types
from lib.convert.formats.onnx.lost_weights import HIGHEST, values_behind_masks
from lib.convert.formats.onnx.names import every_name, rename, unused
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature
from lib.onnx_model.functions import all_nodes

Arrays = dict[str, np.ndarray]
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
# names of the tool's casts
NARROWS, WIDENS = (
    re.compile(r"^graph_input_cast\d+$|_cast_to_fp16_node$"),
    re.compile(r"^graph_output_cast\d+$|_cast_to_fp32_node$"),
)
CASTS = ("graph_input_cast", "graph_output_cast")
SAMPLE_HEADROOM = 2.0  # factor by which the values of other inputs may exceed those of the samples


def convert(model: ModelProto, *, keep_io_types: bool) -> ModelProto:
    """Returns ``model``, tidy and float32, as float16; changes it in the process. Raises JobFailed if the tool fails."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    _own_names(model)
    onnx_types.complete(model)  # a value of unknown type gets no cast
    try:
        small = convert_float_to_float16(model, keep_io_types=keep_io_types)
        _there_and_back(small.graph)
        onnx_order.sort(small.graph)
    except onnx_order.Circle as error:
        raise JobFailed(f"The float16 converter produced a model that cannot be run: {error}.") from None
    except Exception as error:  # asserts, KeyErrors and the like on unexpected graphs
        raise JobFailed(f"The float16 converter refused: {sanitize_message(error)}") from None
    onnx_tidy.drop_stale_types(small)
    return small


def _there_and_back(graph: GraphProto) -> None:
    """Removes the tool's casts to float16 and straight back, which needlessly round, say, a tree ensemble's input."""
    narrow = {n.output[0]: n for n in graph.node if n.op_type == "Cast" and NARROWS.search(n.name)}
    wide = {n.output[0]: narrow[n.input[0]].input[0] for n in graph.node if WIDENS.search(n.name) and n.input[0] in narrow}
    output_names = {v.name for v in graph.output}
    for node in graph.node:
        if node.output[0] in wide:  # a graph output keeps its name; its cast becomes a no-op
            node.input[0] = wide[node.output[0]]
        else:
            node.input[:] = [wide.get(name, name) for name in node.input]
    remaining = list(graph.node)
    for _ in range(2):  # a cast's only reader may be a cast that is removed, too
        read = output_names | {name for node in remaining for name in onnx_order.reads(node)}
        remaining = [n for n in remaining if n.op_type != "Cast" or n.output[0] in read]
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in remaining]
    del graph.node[:]
    graph.node.extend(nodes)


def _own_names(model: ModelProto) -> None:
    """Renames initializers and nodes that the tool would confuse, in place.

    It identifies initializers by name alone, but those in both branches of an If may share one. Its own nodes always get
    the same names, which a model that it has converted before already contains.
    """
    used_names = every_name(model.graph)
    seen: set[str] = set()
    for graph in onnx_tidy.graphs(model.graph):
        names = {}
        for tensor in graph.initializer:
            if tensor.name in seen:
                names[tensor.name] = unused(tensor.name, used_names)
                used_names.add(names[tensor.name])
            seen.add(tensor.name)
        if names:
            rename(graph, names)
    ends = {v.name for v in (*model.graph.input, *model.graph.output)}
    earlier = [name for name in used_names - ends if name.startswith(CASTS)]
    rename(model.graph, {name: unused(f"earlier_{name}", used_names) for name in earlier})
    for node in all_nodes(model.graph.node):
        if node.name.startswith(CASTS):
            node.name = f"earlier_{node.name}"


def floats(model: ModelProto) -> int:
    """Counts float32 and float64 weights, constants and node outputs, except those of casts."""
    count = 0
    try:
        typed = onnx.shape_inference.infer_shapes(onnx_tidy.light(model)).graph
    except Exception:  # onnx's own, and protobuf's
        typed = model.graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in typed.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    for graph in onnx_tidy.graphs(model.graph):
        count += sum(t.data_type in FLOATS for t in graph.initializer)
        for node in graph.node:
            count += sum(a.t.data_type in FLOATS for a in node.attribute)
            if node.op_type != "Cast":
                count += sum(kinds.get(name) in FLOATS for name in node.output)
    return count


def unchanged(model: ModelProto) -> str:
    """Returns the reason why nothing became float16."""
    graph = model.graph
    if any(t.data_type == TensorProto.FLOAT16 for inner in onnx_tidy.graphs(graph) for t in inner.initializer):
        return "The model is already float16; there is nothing to convert."
    kinds = Counter(node.op_type for node in graph.node if node.op_type not in ("Cast", "Identity", "Constant"))
    named = ", ".join(kind for kind, _ in kinds.most_common(4))
    return f"Nothing would become float16: the model's operators ({named}) do not support it, or the model has no float32."


def ranges(model: ModelProto, samples: str | None, sizes: dict[str, int]) -> tuple[list[str], list[str]]:
    """Returns (lost, blind_spots): sample inputs above 65504, and values inside the model that come near it.

    ``samples``: a folder of real inputs under the model's names; without it, inputs are made up. ``sizes``: known sizes of
    dynamic dimensions, by symbol.
    """
    from lib.convert.proof import cases as proof_cases

    hidden = values_behind_masks(model)
    if not samples:
        described = _signature(model)
        cases = [c.arrays for c in proof_cases.cases(described, fixed=sizes) if c.kind in ("ordinary", "large")]
        return [], onnx_blind_spots.over_float16(model, cases, hidden=hidden)
    rows = _rows(samples)
    lost = []
    for name in rows[0] if rows else ():
        peak = max(
            (float(np.max(np.abs(row[name]), initial=0.0)) for row in rows if row[name].dtype.kind == "f"), default=0.0
        )
        if peak > HIGHEST:
            lost.append(f"The input {name[:80]!r} reaches {peak:.6g} in the samples; float16 ends at 65504.")
    return lost, onnx_blind_spots.over_float16(model, rows, headroom=SAMPLE_HEADROOM, made_up=False, hidden=hidden)


def _signature(model: ModelProto) -> Signature:
    """Returns the signature, inferred without the weights, so that a large model is no problem."""
    from lib.onnx_model.signature import signature

    full, weights = signature(onnx_tidy.light(model)), {t.name for t in model.graph.initializer}
    return Signature(tuple(v for v in full.inputs if v.name not in weights), full.outputs, full.sizes)


def _rows(folder: str) -> list[Arrays]:
    from lib.model_inputs import samples

    try:
        return samples.load(Path(folder)).rows
    except OSError:
        raise InvalidFile("The samples are no longer available; send them again.") from None
