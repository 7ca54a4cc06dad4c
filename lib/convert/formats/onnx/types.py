"""Completes the dtypes of values in an ONNX graph.

onnx's inference knows none of onnxruntime's own operators and few of ai.onnx.ml; onnxruntime knows them all.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.onnx_model.runtime import CPU, options

WORD = re.compile(r"tensor\((\w+)\)")  # as onnxruntime writes a type


def complete(model: ModelProto) -> None:
    """Adds a ``value_info`` (dtype, no shape) for each value of the main graph whose type onnx cannot infer."""
    try:
        inferred = onnx.shape_inference.infer_shapes(onnx_tidy.light(model)).graph
    except Exception:  # raised by onnx or protobuf
        inferred = model.graph
    known = {v.name for v in (*inferred.value_info, *inferred.output, *inferred.input) if v.type.WhichOneof("value")}
    missing = [name for node in model.graph.node for name in node.output if name and name not in known]
    if not missing:
        return
    declared = {v.name for v in model.graph.value_info}
    for name, dtype in _by_onnxruntime(model, missing).items():
        if name not in declared:
            model.graph.value_info.append(helper.make_tensor_value_info(name, dtype, None))


def _by_onnxruntime(model: ModelProto, names: list[str]) -> dict[str, int]:
    """Returns the dtypes of ``names`` as onnxruntime infers them; {} if it rejects the model."""
    import onnxruntime

    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(ValueInfoProto(name=name) for name in names)
    session_options = options()
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / onnx_files.NAME
        onnx_files.save(probe, path)
        try:
            outputs = onnxruntime.InferenceSession(str(path), session_options, providers=CPU).get_outputs()
        except MemoryError:
            raise
        except Exception:  # onnxruntime's errors share no public base class
            return {}
    dtypes = {}
    for output in outputs:
        match = WORD.fullmatch(output.type)
        if match and (dtype := dict(TensorProto.DataType.items()).get(match[1].upper())):
            dtypes[output.name] = dtype
    return dtypes
