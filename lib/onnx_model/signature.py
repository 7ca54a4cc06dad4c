"""What an ONNX graph takes and gives, and what its inputs probably mean. Reads the structure only, no weights.

A role is a guess from names, dtypes and the operators that an input reaches. A wrong guess costs a useful
check, never a wrong verdict: both sides of a proof get the same values.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, helper

from lib.errors import InvalidFile
from lib.model_inputs.signature import Signature, Value

PASSED = {"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Slice"}
HELD = {"Cast", "DequantizeLinear", "Identity"}  # between an initializer and the Gather that reads it
MASK = re.compile(r"(^|_)mask$")
TIMES = {"timestep", "timesteps", "time_step", "t"}
MULTIPLE = re.compile(r"(?:(\d+)\*([A-Za-z_]\w*)|([A-Za-z_]\w*)\*(\d+))")  # "2*height", as exporters write it
STEPS = (4, 6, 8)
# what exporters write where a dimension has no name: "?" in two places is not one size
NAMELESS = re.compile(r"[\W\d_]*|none|null|nan|unk|unknown|undefined", re.IGNORECASE)
Shape = tuple[int | str, ...]


def signature(model: ModelProto) -> Signature:
    """Raises InvalidFile for an input or output that is no tensor.

    A dynamic dimension without a name (``nameless``) is called after its place, ``x[0]``. A value whose rank the model
    does not say has the one symbol ``x[...]``.
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    held = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    types = _types(model)
    follow = _Follow(graph, types)
    inputs = []
    for value in graph.input:
        if value.name not in held:
            plain = _value(value, value.type)
            role, high = follow.role(plain)
            inputs.append(Value(plain.name, plain.dtype, plain.shape, role, high))
    outputs = tuple(_value(v, types.get(v.name, v.type)) for v in graph.output)
    found = Signature(tuple(inputs), outputs)
    return Signature(found.inputs, found.outputs, _sizes(found.symbols()))


def nameless(dimension: str) -> bool:
    """Whether the text in place of a dimension's name names nothing: "", "?", "-1", "None"."""
    return NAMELESS.fullmatch(dimension) is not None


def _value(value: ValueInfoProto, kind: TypeProto) -> Value:
    if not kind.HasField("tensor_type"):
        which = (kind.WhichOneof("value") or "unknown").removesuffix("_type")
        raise InvalidFile(
            f"{value.name[:100]!r} is a {which}. Only models whose inputs and outputs are tensors can be converted."
        )
    tensor = kind.tensor_type
    if not tensor.HasField("shape"):
        return Value(value.name, _dtype(value.name, tensor.elem_type), (f"{value.name}[...]",))
    shape = tuple(
        d.dim_value
        if d.HasField("dim_value") and d.dim_value >= 0
        else f"{value.name}[{k}]"
        if nameless(d.dim_param)
        else d.dim_param
        for k, d in enumerate(tensor.shape.dim)
    )
    return Value(value.name, _dtype(value.name, tensor.elem_type), shape)


def _dtype(name: str, kind: int) -> str:
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name
    except (KeyError, TypeError):
        raise InvalidFile(f"{name[:100]!r} has the element type {kind}, which onnx does not define.") from None


def _types(model: ModelProto) -> dict[str, TypeProto]:
    """Of every value that inference can tell. Outputs declared without a shape get theirs from here."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # a model whose declared and inferred types differ; onnxruntime will say so
        graph = model.graph
    found = {v.name: v.type for v in (*graph.value_info, *graph.input)}
    for declared, inferred in zip(model.graph.output, graph.output, strict=True):
        known = declared.type.tensor_type.HasField("shape") or not inferred.type.HasField("tensor_type")
        found[declared.name] = declared.type if known else inferred.type
    return found | {t.name: helper.make_tensor_type_proto(t.data_type, t.dims) for t in model.graph.initializer}


def _sizes(symbols: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """``2*height`` can only be even. Symbols of other expressions may be any size as far as is known here."""
    found = {}
    for symbol in symbols:
        if match := MULTIPLE.fullmatch(symbol.replace(" ", "")):
            factor = int(match[1] or match[4])
            if 1 < factor <= 1024:
                found[symbol] = tuple(factor * n for n in STEPS)
    return found


class _Follow:
    """Where an input's values go, through operators that keep them."""

    def __init__(self, graph: GraphProto, types: dict[str, TypeProto]) -> None:
        self._types = types
        self._readers: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
        self._makers = {name: node for node in graph.node for name in node.output}
        self._held = {t.name for t in graph.initializer}
        for node in graph.node:
            for k, name in enumerate(node.input):
                self._readers[name].append((node, k))

    def role(self, value: Value) -> tuple[str, int | None]:
        words = value.name.lower().replace(".", "_").split("/")[-1]
        whole = value.dtype.startswith(("int", "uint", "bool"))
        if MASK.search(words) and (whole or len(value.shape) <= 2):  # masked_image is a picture
            return "mask", None
        if words in TIMES and len(value.shape) <= 1:
            return "timestep", None
        if value.dtype.startswith(("int", "uint")):
            high = self._high(value.name)
            if "position" in words:
                return "positions", high
            if ("ids" in words or "token" in words) and "type" not in words and high is not None:
                return "tokens", high
            return ("index", high) if high is not None else ("", None)
        if value.dtype.startswith(("float", "bfloat")) and len(value.shape) == 4:
            return ("image", None) if value.shape[1] in (1, 3) or value.shape[3] in (1, 3) else ("", None)
        return "", None

    def _high(self, name: str) -> int | None:
        """The smallest axis that the values index; None where they index nothing of a known size."""
        found, todo, seen = [], [name], {name}
        while todo:
            for node, k in self._readers[todo.pop()]:
                if node.op_type in ("Gather", "GatherElements") and k == 1:
                    found.append(self._indexed(node))
                elif node.op_type in PASSED and k == 0 and node.output and node.output[0] not in seen:
                    seen.add(node.output[0])
                    todo.append(node.output[0])
        return min((n for n in found if n), default=None)

    def _indexed(self, node: NodeProto) -> int | None:
        table = node.input[0]
        while table not in self._held and (maker := self._makers.get(table)) is not None and maker.op_type in HELD:
            table = maker.input[0]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        kind = self._types.get(table)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        dims = kind.tensor_type.shape.dim
        return (dims[axis].dim_value or None) if -len(dims) <= axis < len(dims) else None
