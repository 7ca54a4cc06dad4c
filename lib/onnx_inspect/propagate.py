"""Infer shapes that onnx leaves unknown because they are computed: Shape → Gather → Div → Concat → Reshape.

onnx propagates values through few operators (no Div, no ConstantOfShape), and exporters write such chains for every
``x.view(n, groups, c // groups, h, w)``. This module computes the small values node by node and infers each node's shape
again with them, also in branches and loops. Activations are never computed.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from lib.onnx_inspect import shapes
from lib.onnx_model.functions import all_nodes
from lib.onnx_model.open import count

SMALL = 1024  # maximum elements of a computed value
MAX_NODES = 20_000  # maximum computed nodes, at about 0.3 ms each
GROWING = {"ConstantOfShape", "Expand", "Range", "Tile"}  # output size depends on values, so a declared one is not trusted
# Cheap and deterministic operators whose output size inference knows before they run.
COMPUTED = frozenset(
    """Abs Add And Cast CastLike Ceil Concat Constant ConstantOfShape CumSum Div Equal Expand Flatten Floor Gather
    GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not Or Pow Range
    ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round ScatterElements ScatterND Shape Sign Size Slice Split Sqrt
    Squeeze Sub Tile Transpose Trilu Unsqueeze Where Xor""".split()  # noqa: SIM905
)


Known = MutableMapping[str, TypeProto]
Values = MutableMapping[str, TensorProto]


def complete(inferred: ModelProto, numbers: dict[str, float] | None = None) -> ModelProto:
    """Add the types that depend on values to a model from ``shapes.infer``. Changes the model in place and returns it.

    ``numbers`` is filled with all one-element values that are known without a run, such as the trip count of a loop.
    """
    run = _Run(inferred, numbers)
    run.graph(inferred.graph, ChainMap(), ChainMap())
    return inferred


class _Run:
    """One pass over a model. ``nodes_left``: how many more nodes may be computed."""

    def __init__(self, model: ModelProto, numbers: dict[str, float] | None) -> None:
        self.model, self.nodes_left = model, MAX_NODES
        # only loops need all values; without one, nothing is computed where all shapes are known
        self.all_values = numbers is not None and any(node.op_type == "Loop" for node in all_nodes(model.graph.node))
        self.numbers = {} if numbers is None else numbers
        self.opsets = {o.domain: o.version for o in model.opset_import}

    def graph(self, graph: GraphProto, outer: ChainMap, held: ChainMap) -> None:
        """Complete one graph. ``outer`` and ``held``: types and values visible from outside."""
        graph_types = {v.name: v.type for v in (*graph.value_info, *graph.output, *graph.input)}
        no_subgraphs = not any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
        output_names = (name for node in graph.node for name in node.output if name)
        if no_subgraphs and not self.all_values and all(_is_static(graph_types.get(name)) for name in output_names):
            return
        graph_types |= {t.name: onnx.helper.make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
        constant_names = {t.name for t in graph.initializer} - {v.name for v in graph.input}
        # views, not copies: a thousand branches may see a hundred thousand values
        known_types: Known = outer.new_child(graph_types)
        values: Values = held.new_child(
            {t.name: t for t in graph.initializer if t.name in constant_names and _is_small_constant(t)}
        )
        new_types: dict[str, TypeProto] = {}
        for node in graph.node:
            self._node(node, known_types, values, new_types)
        _write(graph, new_types)
        self.numbers.update({name: n for name, t in values.maps[0].items() if (n := _number(t)) is not None})

    def _node(self, node: NodeProto, known: ChainMap, values: ChainMap, found: dict[str, TypeProto]) -> None:
        branches = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
        for inner in branches:
            self.graph(inner, known, values)
        if not all(_is_static(known.get(name)) for name in node.output if name):
            inferred = _types_of_if(node, branches) if node.op_type == "If" else _infer(node, known, values, self.model)
            improved = {name: kind for name, kind in inferred.items() if _knows_more(known.get(name), kind)}
            known.update(improved)
            found.update(improved)
        if not self.nodes_left or node.op_type not in COMPUTED or node.domain not in ("", "ai.onnx") or not node.output:
            return
        sizes = _infer(node, known, values, self.model) if node.op_type in GROWING else known
        if _are_small(sizes.get(name) for name in node.output):
            computed = _compute(node, known, values, self.opsets)
            self.nodes_left -= bool(computed)
            values.update(computed)


def _types_of_if(node: NodeProto, branches: list[GraphProto]) -> dict[str, TypeProto]:
    """Return the types of an If's outputs on which both branches agree."""
    types = {}
    for k, name in enumerate(node.output):
        kinds = [g.output[k].type for g in branches if k < len(g.output)]
        if name and len(kinds) == 2 and kinds[0] == kinds[1] and _is_static(kinds[0]):
            types[name] = kinds[0]
    return types


def _number(tensor: TensorProto) -> float | None:
    if count(tensor) != 1 or tensor.data_location == TensorProto.EXTERNAL:
        return None
    try:
        return float(numpy_helper.to_array(tensor).reshape(-1)[0])
    except (ValueError, TypeError):
        return None


def _write(graph: GraphProto, found: Mapping[str, TypeProto]) -> None:
    declared = {v.name: v for v in (*graph.value_info, *graph.output)}
    for name, kind in found.items():
        if name in declared:
            declared[name].type.CopyFrom(kind)
        else:
            graph.value_info.append(ValueInfoProto(name=name, type=kind))


def _is_static(kind: TypeProto | None) -> bool:
    """Return whether nothing is left to infer: every dimension is a number, or it is not a tensor."""
    return kind is not None and (not kind.HasField("tensor_type") or shapes.of(kind).elements is not None)


def _knows_more(old: TypeProto | None, new: TypeProto) -> bool:
    """Return whether ``new`` has more numeric dimensions than ``old``, whose symbols are otherwise kept."""
    a, b = (shapes.of(k).shape if k is not None else None for k in (old, new))
    return b is not None and (a is None or sum(isinstance(d, int) for d in b) > sum(isinstance(d, int) for d in a))


def _is_small_constant(tensor: TensorProto) -> bool:
    return tensor.data_location != TensorProto.EXTERNAL and tensor.data_type != TensorProto.STRING and count(tensor) <= SMALL


def _are_small(kinds: Iterable[TypeProto | None]) -> bool:
    types = [shapes.of(k) if k is not None else None for k in kinds]
    return all(k is not None and k.kind == "tensor" and k.elements is not None and k.elements <= SMALL for k in types)


def _infer(
    node: NodeProto, known: Mapping[str, TypeProto], values: Mapping[str, TensorProto], model: ModelProto
) -> dict[str, TypeProto]:
    inputs = [name for name in node.input if name]
    if any(a.HasField("g") or a.graphs for a in node.attribute) or not all(name in known for name in inputs):
        return {}
    try:
        version = next(o.version for o in model.opset_import if o.domain == node.domain)
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        kinds, data = {n: known[n] for n in inputs}, {n: values[n] for n in inputs if n in values}
        return onnx.shape_inference.infer_node_outputs(
            schema, node, kinds, data, opset_imports=list(model.opset_import), ir_version=model.ir_version
        )
    except Exception:  # a malformed node, which the checker reports
        return {}


def _compute(
    node: NodeProto, known: Mapping[str, TypeProto], values: Mapping[str, TensorProto], opsets: dict[str, int]
) -> dict[str, TensorProto]:
    """Compute the node's outputs. Returns {} if a value that they depend on is unknown or too large."""
    inputs = [name for name in node.input if name]
    if node.op_type in ("Shape", "Size"):  # depend on the shape alone
        if not inputs or not _is_static(known.get(inputs[0])):
            return {}
        shape = shapes.of(known[inputs[0]]).shape or ()
        bounds = {a.name: a.i for a in node.attribute}
        dims = shape[slice(bounds.get("start", 0), bounds.get("end"))]
        value = np.array(dims if node.op_type == "Shape" else np.prod(shape, dtype=np.int64), np.int64)
        return {node.output[0]: numpy_helper.from_array(value, node.output[0])}
    if not all(name in values for name in inputs):
        return {}
    if node.op_type == "Constant" and (
        constants := [a.t for a in node.attribute if a.name == "value" and _is_small_constant(a.t)]
    ):
        return {node.output[0]: constants[0]}
    try:
        names = [ValueInfoProto(name=n) for n in dict.fromkeys(inputs)]
        model = GraphProto(name="one", node=[node], input=names, output=[ValueInfoProto(name=n) for n in node.output if n])
        with np.errstate(all="ignore"):
            arrays = ReferenceEvaluator(model, opsets=opsets).run(
                None, {n: numpy_helper.to_array(values[n]) for n in inputs}
            )
        computed = {
            v.name: numpy_helper.from_array(np.asarray(a), v.name) for v, a in zip(model.output, arrays, strict=True)
        }
        return {name: tensor for name, tensor in computed.items() if count(tensor) <= SMALL}
    except Exception:
        return {}
