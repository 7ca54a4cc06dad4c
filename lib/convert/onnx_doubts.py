"""What made-up inputs cannot show of an ONNX model: branches that never ran, sums that float16 cannot hold, wide integers.

Each function answers with sentences for the visitor; none means no doubt. Runs models in onnxruntime.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, shape_inference

from lib.convert import onnx_files, onnx_tidy
from lib.onnx_model.known_values import KnownValues
from lib.onnx_model.runtime import CPU, options, ready

Arrays = dict[str, np.ndarray]
# branches of nothing else choose a shape, and exporters write many
SHAPES = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Constant", "Cast", "Transpose", "Shape", "Gather"}
FLOAT16, HEADROOM = 65504.0, 8.0  # its largest number; how much more than the made-up inputs' real ones may give
MASKED = 1e30  # what is larger stands for infinity, as in masks of attention; the converter cuts such constants
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Mod", "Pow", "Sum", "CumSum", "ReduceSum", "ReduceProd", "BitShift", "MatMul"}
CHOOSING = {"ArgMax", "ArgMin", "TopK", "NonZero", "Shape", "Size", "NonMaxSuppression", "Unique"}  # bounded by a shape
WIDE = (TensorProto.INT64, TensorProto.UINT64)


def unseen_branches(model: ModelProto, cases: list[Arrays]) -> list[str]:
    """Branches of If nodes that none of ``cases`` enters and that compute something."""
    ifs = [n for n in model.graph.node if n.op_type == "If" and any(map(_computes, _branches(n).values()))]
    if not ifs:
        return []
    made = {name for node in model.graph.node for name in node.output} | {v.name for v in model.graph.input}
    probed = list(dict.fromkeys(n.input[0] for n in ifs if n.input[0] in made))
    seen: dict[str, set[bool]] = {name: set() for name in probed}
    probe = _with_outputs(model, [helper.make_tensor_value_info(name, TensorProto.BOOL, None) for name in probed])
    for found in _run(probe, cases, probed):
        for name, value in zip(probed, found, strict=True):
            seen[name].add(bool(np.asarray(value).reshape(-1)[0]))
    unseen = [n for n in ifs if len(seen.get(n.input[0], ())) < 2]
    decided = _decided(model, unseen)
    out = []
    for node in unseen:
        if node.output[0] in decided:
            continue
        for branch, graph in _branches(node).items():
            ran = (branch == "then_branch") in seen.get(node.input[0], set())
            if _computes(graph) and not ran:
                called = (node.name or node.output[0])[:80]
                out.append(f"No input that was made up enters the {branch.removesuffix('_branch')} branch of If {called!r}.")
    return out[:3]


def _decided(model: ModelProto, nodes: list[NodeProto]) -> frozenset[str]:
    """First outputs of the If nodes whose condition follows from declared shapes: no input can enter the other branch."""
    known = KnownValues(model)
    values = {node.output[0]: known.of(node.input[0]) for node in nodes}
    return frozenset(name for name, value in values.items() if value and None not in value)


def _branches(node: NodeProto) -> dict[str, GraphProto]:
    return {a.name: a.g for a in node.attribute if a.name in ("then_branch", "else_branch")}


def _computes(graph: GraphProto) -> bool:
    return any(node.op_type not in SHAPES for node in graph.node)


def over_float16(
    model: ModelProto,
    cases: list[Arrays],
    *,
    headroom: float = HEADROOM,
    made_up: bool = True,
    hidden: frozenset[str] | set[str] = frozenset(),
) -> list[str]:
    """The tensor whose largest value over ``cases``, ``headroom`` times that, is more than float16 holds.

    ``hidden``: names of values that are large because of a mask. ``made_up`` False: the cases are real samples.
    """
    typed = shape_inference.infer_shapes(onnx_tidy.light(model))
    kinds = {v.name: v.type.tensor_type.elem_type for v in typed.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    made = [n for node in model.graph.node for n in node.output]
    names = [n for n in made if kinds.get(n) == TensorProto.FLOAT and n not in hidden]
    probe = _with_outputs(model, [])
    probe.ir_version = max(probe.ir_version, 4)  # before that, weights were inputs
    where = onnx_files.opset(model) >= 9  # the operator's first
    probe.graph.initializer.extend(
        helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("mw_masked", MASKED), ("mw_zero", 0.0)) if where
    )
    for k, name in enumerate(names):  # one number each: the tensors themselves may be gigabytes
        size, real = f"mw_abs_{k}", f"mw_real_{k}"
        probe.graph.node.append(helper.make_node("Abs", [name], [size]))
        if where:
            probe.graph.node.append(helper.make_node("Less", [size, "mw_masked"], [f"mw_less_{k}"]))
            probe.graph.node.append(helper.make_node("Where", [f"mw_less_{k}", size, "mw_zero"], [real]))
        probe.graph.node.append(helper.make_node("ReduceMax", [real if where else size], [f"mw_max_{k}"], keepdims=0))
        probe.graph.output.append(ValueInfoProto(name=f"mw_max_{k}"))
    runs = list(_run(probe, cases, [f"mw_max_{k}" for k in range(len(names))]))
    if names and not runs:  # operators older than Where, or a model that takes none of the inputs
        return ["How large the values inside the model get could not be measured, and float16 ends at 65504."]
    peaks = np.max(np.nan_to_num(np.array(runs, np.float64)), axis=0, initial=0.0).tolist()
    worst = max(range(len(names)), key=peaks.__getitem__, default=0)
    if not names or peaks[worst] * headroom <= FLOAT16:
        return []
    inputs = "made-up inputs" if made_up else "the samples"
    if peaks[worst] > FLOAT16:
        return [
            f"{names[worst][:80]!r} reaches {peaks[worst]:.3g} on {inputs}; float16 ends at 65504, so it may be infinite."
        ]
    return [
        f"{names[worst][:80]!r} reaches {peaks[worst]:.3g} on {inputs}, too near float16's largest number, 65504: "
        "larger inputs may become infinite."
    ]


def wide_integers(model: ModelProto) -> list[str]:
    """For runtimes that compute 64-bit integers in 32 bits, and float64 in float32."""
    typed = shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*typed.input, *typed.output, *typed.value_info)}
    out = []
    if any(kinds[v.name] == TensorProto.DOUBLE for v in (*typed.input, *typed.output)):
        out.append("The model computes in float64; there it is computed in float32, which ends at 3.4e38.")
    makers = {name: node for node in typed.node for name in node.output}
    for value in typed.output:
        if kinds.get(value.name) in WIDE and _arithmetic(value.name, makers, kinds):
            out.append(f"{value.name[:80]!r} is computed in 64 bits; there it is computed in 32, and wraps or ends at 2^31.")
    return out[:3]


def _arithmetic(name: str, makers: dict[str, NodeProto], kinds: dict[str, int]) -> bool:
    """Whether arithmetic, or a cast of a float, stands behind an integer."""
    todo, seen = [name], set()
    while todo:
        node = makers.get(todo.pop())
        if node is None or id(node) in seen or node.op_type in CHOOSING:
            continue
        seen.add(id(node))
        floats = any(kinds.get(n) in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16) for n in node.input)
        if node.op_type in ARITHMETIC or (node.op_type == "Cast" and floats):
            return True
        todo += [n for n in node.input if kinds.get(n) in WIDE]
    return False


def _with_outputs(model: ModelProto, more: list[ValueInfoProto]) -> ModelProto:
    probe = ModelProto()
    probe.CopyFrom(model)
    there = {v.name for v in probe.graph.output}
    probe.graph.output.extend(v for v in more if v.name not in there)
    return probe


def _run(probe: ModelProto, cases: list[Arrays], names: list[str]) -> Iterator[list[np.ndarray]]:
    """The values of ``names`` for each case; of a model that does not run so, nothing: then its doubts stay."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / onnx_files.NAME
        onnx_files.save(probe, path)
        try:
            session = onnxruntime.InferenceSession(str(path), options(), providers=CPU)
        except Exception:  # onnxruntime's errors share no public base class
            return
        order = [o.name for o in session.get_outputs()]
        for given in cases:
            try:
                found = dict(zip(order, ready(session, given)(), strict=True))
            except Exception:
                continue
            yield [np.asarray(found[name]) for name in names]
