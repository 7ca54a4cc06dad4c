"""onnxruntime's float16 converter, with what it needs before and after, and the ranges of the values that it narrows."""

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
# names that the tool gives to its casts
NARROWS, WIDENS = (
    re.compile(r"^graph_input_cast\d+$|_cast_to_fp16_node$"),
    re.compile(r"^graph_output_cast\d+$|_cast_to_fp32_node$"),
)
CASTS = ("graph_input_cast", "graph_output_cast")
SAMPLE_HEADROOM = 2.0  # how much more than the samples' the values of other inputs may be


def convert(model: ModelProto, *, keep_io_types: bool) -> ModelProto:
    """Changes ``model``, which is tidy and float32. Raises JobFailed where the tool refuses."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    _own_names(model)
    onnx_types.complete(model)  # a value of unknown type gets no cast
    try:
        small = convert_float_to_float16(model, keep_io_types=keep_io_types)
        _there_and_back(small.graph)
        onnx_order.sort(small.graph)
    except onnx_order.Circle as error:
        raise JobFailed(f"The float16 converter made a model that cannot be run: {error}.") from None
    except Exception as error:  # asserts, KeyErrors and the like on graphs it does not expect
        raise JobFailed(f"The float16 converter refused: {sanitize_message(error)}") from None
    onnx_tidy.drop_stale_types(small)
    return small


def _there_and_back(graph: GraphProto) -> None:
    """Takes out the tool's casts to float16 and at once back: an input of trees would lose its digits for nothing."""
    narrow = {n.output[0]: n for n in graph.node if n.op_type == "Cast" and NARROWS.search(n.name)}
    wide = {n.output[0]: narrow[n.input[0]].input[0] for n in graph.node if WIDENS.search(n.name) and n.input[0] in narrow}
    results = {v.name for v in graph.output}
    for node in graph.node:
        if node.output[0] in wide:  # a result needs its name, and a cast to its own dtype is none
            node.input[0] = wide[node.output[0]]
        else:
            node.input[:] = [wide.get(name, name) for name in node.input]
    kept = list(graph.node)
    for _ in range(2):  # a cast may be read by a cast alone
        read = results | {name for node in kept for name in onnx_order.reads(node)}
        kept = [n for n in kept if n.op_type != "Cast" or n.output[0] in read]
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in kept]
    del graph.node[:]
    graph.node.extend(nodes)


def _own_names(model: ModelProto) -> None:
    """The tool knows an initializer by its name alone, and those of both branches of an If may share one. What it adds
    always has the same names, which a model that went through it before has already."""
    taken = every_name(model.graph)
    seen: set[str] = set()
    for graph in onnx_tidy.graphs(model.graph):
        names = {}
        for tensor in graph.initializer:
            if tensor.name in seen:
                names[tensor.name] = unused(tensor.name, taken)
                taken.add(names[tensor.name])
            seen.add(tensor.name)
        if names:
            rename(graph, names)
    ends = {v.name for v in (*model.graph.input, *model.graph.output)}
    ours = [name for name in taken - ends if name.startswith(CASTS)]
    rename(model.graph, {name: unused(f"earlier_{name}", taken) for name in ours})
    for node in all_nodes(model.graph.node):
        if node.name.startswith(CASTS):
            node.name = f"earlier_{node.name}"


def floats(model: ModelProto) -> int:
    """How many weights, constants and results are float32 or float64, casts and the model's own outputs left out."""
    found = 0
    try:
        typed = onnx.shape_inference.infer_shapes(onnx_tidy.light(model)).graph
    except Exception:  # onnx's own, and protobuf's
        typed = model.graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in typed.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    for graph in onnx_tidy.graphs(model.graph):
        found += sum(t.data_type in FLOATS for t in graph.initializer)
        for node in graph.node:
            found += sum(a.t.data_type in FLOATS for a in node.attribute)
            if node.op_type != "Cast":
                found += sum(kinds.get(name) in FLOATS for name in node.output)
    return found


def unchanged(model: ModelProto) -> str:
    """Why nothing became float16."""
    graph = model.graph
    if any(t.data_type == TensorProto.FLOAT16 for one in onnx_tidy.graphs(graph) for t in one.initializer):
        return "The model is float16 already; there is nothing to convert."
    kinds = Counter(node.op_type for node in graph.node if node.op_type not in ("Cast", "Identity", "Constant"))
    named = ", ".join(kind for kind, _ in kinds.most_common(4))
    return f"Nothing would become float16: the model's operators ({named}) have no float16 form, or it has no float32 in it."


def ranges(model: ModelProto, samples: str | None, sizes: dict[str, int]) -> tuple[list[str], list[str]]:
    """(lost, blind_spots): inputs of the samples over 65504, and values inside the model that come near it.

    ``samples``: a folder of real ones, with the model's own input names; without, inputs are made up. ``sizes``: those
    of its dynamic dimensions that are known, by symbol.
    """
    from lib.convert.proof import cases as proof_cases

    hidden = values_behind_masks(model)
    if not samples:
        found = _signature(model)
        cases = [c.arrays for c in proof_cases.cases(found, fixed=sizes) if c.kind in ("ordinary", "large")]
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
    """Inferred without the weights, whatever their size."""
    from lib.onnx_model.signature import signature

    found, weights = signature(onnx_tidy.light(model)), {t.name for t in model.graph.initializer}
    return Signature(tuple(v for v in found.inputs if v.name not in weights), found.outputs, found.sizes)


def _rows(folder: str) -> list[Arrays]:
    from lib.model_inputs import samples

    try:
        return samples.load(Path(folder)).rows
    except OSError:
        raise InvalidFile("The samples are not there any more; give them again.") from None
