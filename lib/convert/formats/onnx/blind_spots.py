"""What made-up inputs cannot show of an ONNX model: sums that float16 cannot hold, wide integers.

Each function answers with sentences for the visitor; none means no doubt. Runs models in onnxruntime.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, shape_inference

from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.onnx_model.runtime import CPU, options, ready

Arrays = dict[str, np.ndarray]
FLOAT16, HEADROOM = 65504.0, 8.0  # its largest number; how much more than the made-up inputs' real ones may give
MASKED = 1e30  # what is larger stands for infinity, as in masks of attention; the converter cuts such constants
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Mod", "Pow", "Sum", "CumSum", "ReduceSum", "ReduceProd", "BitShift", "MatMul"}
CHOOSING = {"ArgMax", "ArgMin", "TopK", "NonZero", "Shape", "Size", "NonMaxSuppression", "Unique"}  # bounded by a shape
WIDE = (TensorProto.INT64, TensorProto.UINT64)


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
    runs = list(run_probe(probe, cases, [f"mw_max_{k}" for k in range(len(names))]))
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


def run_probe(probe: ModelProto, cases: list[Arrays], names: list[str]) -> Iterator[list[np.ndarray]]:
    """The values of ``names`` for each case; of a model that does not run so, nothing: then its blind_spots stay."""
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
