"""Runs ONNX models from memory or disk, and measures the ranges of their tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from lib.convert.tools.quantise.ranges import COUNTED, PASS_SECONDS, Ranges, spread, within
from lib.errors import JobFailed
from lib.onnx_model.words import clean

Arrays = dict[str, np.ndarray]
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def run(model: Path | bytes) -> Callable[[Arrays], Arrays]:
    """Returns a function that runs ``model``. Both raise JobFailed with onnxruntime's message."""
    import onnxruntime

    from lib.onnx_model.runtime import CPU, options, ready

    try:
        source = str(model) if isinstance(model, Path) else model
        session = onnxruntime.InferenceSession(source, options(), providers=CPU)
    except Exception as error:  # onnxruntime's errors share no public base class
        raise JobFailed(f"onnxruntime refuses the quantised model: {clean(str(error))}") from None
    names = [o.name for o in session.get_outputs()]

    def outputs(inputs: Arrays) -> Arrays:
        try:
            values = ready(session, inputs)()
        except Exception as error:
            raise JobFailed(f"onnxruntime refused a calibration input: {clean(str(error))}") from None
        return {n: v for n, v in zip(names, values, strict=True) if isinstance(v, np.ndarray)}

    return outputs


def ranges(
    path: Path,
    folder: Path,
    rows: list[Arrays],
    report: Callable[[float], object],
    also: Callable[[Arrays], object] = lambda tensors: None,
) -> Ranges:
    """Measures the range of every float tensor of the main graph; passes each sample's tensors to ``also`` once.

    onnxruntime's own calibrators keep the tensors of all samples in memory; this keeps those of one sample.
    """
    model = onnx.load(str(path))
    watched = _watched(model)
    have = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in watched if n not in have)
    watched_path = folder / "watched.onnx"
    onnx.save(model, str(watched_path), save_as_external_data=True, location="watched.data", size_threshold=1024)
    run_watched, result = run(watched_path), Ranges()
    for k, (step, samples) in enumerate(((result.see, rows), (result.count, spread(rows, COUNTED)))):
        for done, row in enumerate(within(samples, PASS_SECONDS)):
            tensors = {n: v for n, v in (row | run_watched(row)).items() if v.dtype.kind == "f"}
            step(tensors)
            if not k:
                also(tensors)
            report((k + (done + 1) / len(samples)) / 2)
    watched_path.unlink()
    (folder / "watched.data").unlink(missing_ok=True)
    return result


def _watched(model: ModelProto) -> list[str]:
    """Returns node outputs that are float tensors or whose type shape inference does not know."""
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info if v.type.HasField("tensor_type")}
    non_tensors = {v.name for v in model.graph.value_info if not v.type.HasField("tensor_type")}
    names = dict.fromkeys(name for node in model.graph.node for name in node.output if name and name not in non_tensors)
    return [n for n in names if types.get(n, TensorProto.FLOAT) in FLOATS]
