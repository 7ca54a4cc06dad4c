"""Runs of ONNX models held in memory or on disk, for measuring. Knows nothing of quantisation."""

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
    """Raises JobFailed, in onnxruntime's words, here or on a run."""
    import onnxruntime

    from lib.onnx_model.runtime import CPU, options, ready

    try:
        given = str(model) if isinstance(model, Path) else model
        session = onnxruntime.InferenceSession(given, options(), providers=CPU)
    except Exception as error:  # onnxruntime's errors share no public base class
        raise JobFailed(f"onnxruntime refuses the quantised model: {clean(str(error))}") from None
    names = [o.name for o in session.get_outputs()]

    def outputs(inputs: Arrays) -> Arrays:
        try:
            found = ready(session, inputs)()
        except Exception as error:
            raise JobFailed(f"onnxruntime refused a calibration input: {clean(str(error))}") from None
        return {n: v for n, v in zip(names, found, strict=True) if isinstance(v, np.ndarray)}

    return outputs


def ranges(
    path: Path,
    folder: Path,
    rows: list[Arrays],
    report: Callable[[float], object],
    also: Callable[[Arrays], object] = lambda tensors: None,
) -> Ranges:
    """Of every float tensor of the main graph; ``also`` sees each sample's tensors once.

    onnxruntime's own calibrators keep all samples' tensors at once; here one sample's are held.
    """
    model = onnx.load(str(path))
    watched = _watched(model)
    have = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in watched if n not in have)
    whole = folder / "watched.onnx"
    onnx.save(model, str(whole), save_as_external_data=True, location="watched.data", size_threshold=1024)
    look, found = run(whole), Ranges()
    for k, (step, some) in enumerate(((found.see, rows), (found.count, spread(rows, COUNTED)))):
        for done, row in enumerate(within(some, PASS_SECONDS)):
            tensors = {n: v for n, v in (row | look(row)).items() if v.dtype.kind == "f"}
            step(tensors)
            if not k:
                also(tensors)
            report((k + (done + 1) / len(some)) / 2)
    whole.unlink()
    (folder / "watched.data").unlink(missing_ok=True)
    return found


def _watched(model: ModelProto) -> list[str]:
    """Outputs of nodes that are float tensors as far as inference knows; where it knows nothing, all."""
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info if v.type.HasField("tensor_type")}
    odd = {v.name for v in model.graph.value_info if not v.type.HasField("tensor_type")}
    names = dict.fromkeys(name for node in model.graph.node for name in node.output if name and name not in odd)
    return [n for n in names if types.get(n, TensorProto.FLOAT) in FLOATS]
