"""Shapes that onnx's inference leaves open because they are computed: Shape → Gather → Div → Concat → Reshape.

onnx follows values through few operators (no Div, no ConstantOfShape), and exporters write such chains
for every ``x.view(n, groups, c // groups, h, w)``. Here the small values are computed, node by node,
and each node's shape is inferred again with them. Only the main graph; activations are never computed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from lib.onnx_inspect import shapes
from lib.onnx_model.open import count

SMALL = 1024  # elements of a value that is computed
MOST = 20_000  # nodes that are computed, at some 0.3 ms each
GROWING = {"ConstantOfShape", "Expand", "Range", "Tile"}  # the size is up to their values: a declared one is not believed
# Cheap, the same on every run, and with an output size that inference knows before.
COMPUTED = frozenset(
    """Abs Add And Cast CastLike Ceil Concat Constant ConstantOfShape CumSum Div Equal Expand Flatten Floor Gather
    GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not Or Pow Range
    ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round ScatterElements ScatterND Shape Sign Size Slice Split Sqrt
    Squeeze Sub Tile Transpose Trilu Unsqueeze Where Xor""".split()  # noqa: SIM905
)


def complete(inferred: ModelProto) -> ModelProto:
    """The model that ``shapes.infer`` gave, with the types that values of its graph decide. Changes it in place."""
    graph = inferred.graph
    known = {v.name: v.type for v in (*graph.value_info, *graph.output, *graph.input)}
    if all(_settled(known.get(name)) for node in graph.node for name in node.output if name):
        return inferred
    known |= {t.name: onnx.helper.make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
    fixed = {t.name for t in graph.initializer} - {v.name for v in graph.input}
    values = {t.name: t for t in graph.initializer if t.name in fixed and _held(t)}
    opsets = {o.domain: o.version for o in inferred.opset_import}
    found: dict[str, TypeProto] = {}
    left = MOST
    for node in graph.node:
        if not all(_settled(known.get(name)) for name in node.output if name):
            better = {
                name: kind for name, kind in _infer(node, known, values, inferred).items() if _more(known.get(name), kind)
            }
            known |= better
            found |= better
        if not left or node.op_type not in COMPUTED or node.domain not in ("", "ai.onnx") or not node.output:
            continue
        sizes = _infer(node, known, values, inferred) if node.op_type in GROWING else known
        if _small(sizes.get(name) for name in node.output):
            made = _compute(node, known, values, opsets)
            left -= bool(made)
            values |= made
    declared = {v.name: v for v in (*graph.value_info, *graph.output)}
    for name, kind in found.items():
        if name in declared:
            declared[name].type.CopyFrom(kind)
        else:
            graph.value_info.append(ValueInfoProto(name=name, type=kind))
    return inferred


def _settled(kind: TypeProto | None) -> bool:
    """Nothing can be learned: every dimension is a number, or it is no tensor."""
    return kind is not None and (not kind.HasField("tensor_type") or shapes.of(kind).elements is not None)


def _more(old: TypeProto | None, new: TypeProto) -> bool:
    """``new`` says more than ``old``, which may have symbols that are worth keeping."""
    a, b = (shapes.of(k).shape if k is not None else None for k in (old, new))
    return b is not None and (a is None or sum(isinstance(d, int) for d in b) > sum(isinstance(d, int) for d in a))


def _held(tensor: TensorProto) -> bool:
    return tensor.data_location != TensorProto.EXTERNAL and tensor.data_type != TensorProto.STRING and count(tensor) <= SMALL


def _small(kinds: Iterable[TypeProto | None]) -> bool:
    found = [shapes.of(k) if k is not None else None for k in kinds]
    return all(k is not None and k.kind == "tensor" and k.elements is not None and k.elements <= SMALL for k in found)


def _infer(
    node: NodeProto, known: dict[str, TypeProto], values: dict[str, TensorProto], model: ModelProto
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
    except Exception:  # whatever is wrong with the node, the checker says
        return {}


def _compute(
    node: NodeProto, known: dict[str, TypeProto], values: dict[str, TensorProto], opsets: dict[str, int]
) -> dict[str, TensorProto]:
    """The node's outputs, where all that they depend on is known."""
    inputs = [name for name in node.input if name]
    if node.op_type in ("Shape", "Size"):  # depend on the shape alone
        if not inputs or not _settled(known.get(inputs[0])):
            return {}
        shape = shapes.of(known[inputs[0]]).shape or ()
        bounds = {a.name: a.i for a in node.attribute}
        cut = shape[slice(bounds.get("start", 0), bounds.get("end"))]
        value = np.array(cut if node.op_type == "Shape" else np.prod(shape, dtype=np.int64), np.int64)
        return {node.output[0]: numpy_helper.from_array(value, node.output[0])}
    if not all(name in values for name in inputs):
        return {}
    if node.op_type == "Constant" and (held := [a.t for a in node.attribute if a.name == "value" and _held(a.t)]):
        return {node.output[0]: held[0]}
    try:
        names = [ValueInfoProto(name=n) for n in dict.fromkeys(inputs)]
        one = GraphProto(name="one", node=[node], input=names, output=[ValueInfoProto(name=n) for n in node.output if n])
        with np.errstate(all="ignore"):
            arrays = ReferenceEvaluator(one, opsets=opsets).run(None, {n: numpy_helper.to_array(values[n]) for n in inputs})
        made = {v.name: numpy_helper.from_array(np.asarray(a), v.name) for v, a in zip(one.output, arrays, strict=True)}
        return {name: tensor for name, tensor in made.items() if count(tensor) <= SMALL}
    except Exception:
        return {}
