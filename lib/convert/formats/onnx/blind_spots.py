"""Finds numeric risks in an ONNX model that generated inputs may not trigger: float16 overflow, 64-bit integers.

Each check returns warnings for the user; an empty list means no concern. Models run in onnxruntime.
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
# largest finite float16; margin for real inputs, which may produce larger values than generated ones
FLOAT16, HEADROOM = 65504.0, 8.0
MASKED = 1e30  # larger values stand for infinity, as in attention masks; the converter clamps such constants
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Mod", "Pow", "Sum", "CumSum", "ReduceSum", "ReduceProd", "BitShift", "MatMul"}
CHOOSING = {"ArgMax", "ArgMin", "TopK", "NonZero", "Shape", "Size", "NonMaxSuppression", "Unique"}  # bounded by a dimension
WIDE = (TensorProto.INT64, TensorProto.UINT64)


def over_float16(
    model: ModelProto,
    cases: list[Arrays],
    *,
    headroom: float = HEADROOM,
    made_up: bool = True,
    hidden: frozenset[str] | set[str] = frozenset(),
) -> list[str]:
    """Warns about the tensor with the largest magnitude over ``cases``, if ``headroom`` times it exceeds float16's range.

    ``hidden``: names of values that are large only because of a mask. ``made_up=False``: ``cases`` are real samples.
    """
    typed = shape_inference.infer_shapes(onnx_tidy.light(model))
    dtypes = {v.name: v.type.tensor_type.elem_type for v in typed.graph.value_info}
    dtypes |= {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    produced = [n for node in model.graph.node for n in node.output]
    names = [n for n in produced if dtypes.get(n) == TensorProto.FLOAT and n not in hidden]
    probe = _with_outputs(model, [])
    probe.ir_version = max(probe.ir_version, 4)  # before IR 4, every initializer had to be a graph input
    has_where = onnx_files.opset(model) >= 9  # Where was added in opset 9
    probe.graph.initializer.extend(
        helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("mw_masked", MASKED), ("mw_zero", 0.0)) if has_where
    )
    for k, name in enumerate(names):  # return one scalar per tensor: the tensors themselves may take gigabytes
        size, real = f"mw_abs_{k}", f"mw_real_{k}"
        probe.graph.node.append(helper.make_node("Abs", [name], [size]))
        if has_where:
            probe.graph.node.append(helper.make_node("Less", [size, "mw_masked"], [f"mw_less_{k}"]))
            probe.graph.node.append(helper.make_node("Where", [f"mw_less_{k}", size, "mw_zero"], [real]))
        probe.graph.node.append(helper.make_node("ReduceMax", [real if has_where else size], [f"mw_max_{k}"], keepdims=0))
        probe.graph.output.append(ValueInfoProto(name=f"mw_max_{k}"))
    runs = list(run_probe(probe, cases, [f"mw_max_{k}" for k in range(len(names))]))
    if names and not runs:  # the probe does not load, or rejects every case
        return ["The range of the model's intermediate values could not be measured, and float16 ends at 65504."]
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
        f"{names[worst][:80]!r} reaches {peaks[worst]:.3g} on {inputs}, too close to float16's maximum, 65504: larger "
        "inputs may become infinite."
    ]


def wide_integers(model: ModelProto) -> list[str]:
    """Warns about values that change on runtimes that compute int64 as int32 and float64 as float32."""
    typed = shape_inference.infer_shapes(model).graph
    dtypes = {v.name: v.type.tensor_type.elem_type for v in (*typed.input, *typed.output, *typed.value_info)}
    warnings = []
    if any(dtypes[v.name] == TensorProto.DOUBLE for v in (*typed.input, *typed.output)):
        warnings.append("The model computes in float64; the target computes in float32, which ends at 3.4e38.")
    producers = {name: node for node in typed.node for name in node.output}
    for value in typed.output:
        if dtypes.get(value.name) in WIDE and _arithmetic(value.name, producers, dtypes):
            warnings.append(
                f"{value.name[:80]!r} is computed in 64 bits; the target computes it in 32, and wraps or saturates at 2^31."
            )
    return warnings[:3]


def _arithmetic(name: str, makers: dict[str, NodeProto], kinds: dict[str, int]) -> bool:
    """Returns whether the integer value ``name`` is computed by arithmetic or cast from a float."""
    pending, seen = [name], set()
    while pending:
        node = makers.get(pending.pop())
        if node is None or id(node) in seen or node.op_type in CHOOSING:
            continue
        seen.add(id(node))
        floats = any(kinds.get(n) in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16) for n in node.input)
        if node.op_type in ARITHMETIC or (node.op_type == "Cast" and floats):
            return True
        pending += [n for n in node.input if kinds.get(n) in WIDE]
    return False


def _with_outputs(model: ModelProto, more: list[ValueInfoProto]) -> ModelProto:
    probe = ModelProto()
    probe.CopyFrom(model)
    declared = {v.name for v in probe.graph.output}
    probe.graph.output.extend(v for v in more if v.name not in declared)
    return probe


def run_probe(probe: ModelProto, cases: list[Arrays], names: list[str]) -> Iterator[list[np.ndarray]]:
    """Yields the values of ``names`` for each case, skipping cases that fail; nothing if the probe does not load."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / onnx_files.NAME
        onnx_files.save(probe, path)
        try:
            session = onnxruntime.InferenceSession(str(path), options(), providers=CPU)
        except Exception:  # onnxruntime's errors share no public base class
            return
        order = [o.name for o in session.get_outputs()]
        for case in cases:
            try:
                outputs = dict(zip(order, ready(session, case)(), strict=True))
            except Exception:
                continue
            yield [np.asarray(outputs[name]) for name in names]
