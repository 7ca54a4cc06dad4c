"""Exports a run as the ONNX model that mobile files are converted from: float32 pixels, channels last, for any framework."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.errors import JobFailed
from lib.train.export import OnnxFile, to_onnx
from lib.train.runs import Run

FLOAT = 1  # TensorProto.FLOAT


def write(run: Run, path: Path, about: Mapping[str, str], backbones: tuple[str, ...] = ()) -> OnnxFile:
    """Write ``path``: ``pixels`` float32 [batch, size, size, 3], RGB 0 to 255, to ``probabilities`` float32
    [batch, classes].

    ``about`` is added to the metadata, with the labels and the normalization. Raises JobFailed if the run has no weights.
    """
    import onnx

    with tempfile.TemporaryDirectory() as scratch:
        exported = to_onnx(run, Path(scratch) / "model.onnx", backbones)
        model = onnx.load(Path(scratch) / "model.onnx")
    channels_last(model)
    notes = {p.key: p.value for p in model.metadata_props if p.key in ("labels", "run")}
    notes |= {"input": "RGB, 0 to 255, channels last", "normalization": "inside", "mean": "0", "std": "1"} | dict(about)
    onnx.helper.set_model_props(model, notes | {"labels": json.dumps(exported.classes)})
    model.doc_string = notes.get("description", "")
    model.producer_name = "Model Workbench"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return replace(exported, bytes=path.stat().st_size)


def channels_last(model: Any) -> None:
    """Change the input in place to float32 [batch, size, size, 3]. Raises JobFailed unless it has three channels."""
    value = model.graph.input[0]
    kind = value.type.tensor_type
    sizes = [d.dim_value for d in kind.shape.dim]
    if kind.elem_type == FLOAT and sizes[1] == 3:
        _turn(model.graph, value)
    elif sizes[3] == 3:
        _widen(model.graph, value)
    else:
        raise JobFailed("The run's ONNX file does not accept 3-channel pictures.")


def _turn(graph: Any, value: Any) -> None:
    """Convert a channels-first input by inserting a Transpose."""
    import onnx

    inside = f"{value.name}_channels_first"
    for node in graph.node:
        node.input[:] = [inside if name == value.name else name for name in node.input]
    graph.node.insert(0, onnx.helper.make_node("Transpose", [value.name], [inside], "channels_first", perm=[0, 3, 1, 2]))
    batch, _, height, width = list(value.type.tensor_type.shape.dim)
    sizes = [batch.dim_param or batch.dim_value, height.dim_value, width.dim_value, 3]
    value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, FLOAT, sizes))


def _widen(graph: Any, value: Any) -> None:
    """Convert an integer input to float32. Casts of the input are removed: casting floats to integers truncates them."""
    value.type.tensor_type.elem_type = FLOAT
    names, casts = {value.name}, []
    for node in graph.node:  # topologically sorted
        if node.op_type in ("Cast", "Identity") and node.input[0] in names:
            names.add(node.output[0])
            casts.append(node)
    for node in casts:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [value.name if name in names else name for name in node.input]
    del graph.value_info[:]  # these still have the integer type


def fixed(source: Path, path: Path) -> None:
    """Write ``source`` with a batch size of 1 to ``path``, without the operations that only a dynamic batch needs.

    onnxruntime folds the constants; its basic optimizations add no custom operators. MediaPipe rejects what onnx2tf makes
    of shape arithmetic.
    """
    import onnx
    import onnxruntime

    model = onnx.load(source)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    folded = onnx.load(path)
    used = {node.domain for node in folded.graph.node}
    opset_imports = [opset for opset in folded.opset_import if opset.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(opset_imports)
    onnx.save(folded, path)
