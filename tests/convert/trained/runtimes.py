"""Runs converted files on the held-out inputs, in runtimes that the proof does not use for them.

ONNX: OpenVINO, and onnx's reference evaluator for what OpenVINO does not know (the proof: onnxruntime, which is asked
here, without its optimizations, for operators of its own only). TensorFlow
Lite: LiteRT's own kernels (the proof: XNNPACK's). OpenVINO's and PyTorch's files have one runtime only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Inputs = dict[str, np.ndarray]  # by the source's names; first axis samples
Row = dict[str, np.ndarray]
Run = Callable[[Row], list[np.ndarray]]


def outputs(format: str, path: Path, held: Inputs) -> list[np.ndarray]:
    """Output by output, first axis samples. Raises whatever the runtime raises."""
    load = next(f for start, f in LOADERS.items() if format.startswith(start))
    return stacked(load(path), held)


def stacked(run: Run, held: Inputs) -> list[np.ndarray]:
    count = len(next(iter(held.values())))
    rows = [run({name: value[k] for name, value in held.items()}) for k in range(count)]
    return [np.stack(one) for one in zip(*rows, strict=True)]


def paired(row: Row, wanted: list[tuple[str, list[int | None], Any]]) -> Row:
    """The row by the file's own names, in its layout and dtype; ``wanted``: name, shape (None: any), dtype."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in row}
    left, out = dict(row), {}

    def key(name: str) -> str | None:
        squeezed = re.sub(r"[^a-z0-9]", "", name.lower())
        return next((n for p, n in plain.items() if n in left and (p == squeezed or p in squeezed)), None)

    chosen = {}
    for name, _, _ in wanted:
        if (found := key(name)) is not None:
            chosen[name] = left.pop(found)
    for name, shape, dtype in wanted:
        value = chosen[name] if name in chosen else left.pop(next(iter(left)))
        out[name] = np.ascontiguousarray(_laid(value, shape), dtype)
    return out


def _laid(value: np.ndarray, shape: list[int | None]) -> np.ndarray:
    def fits(array: np.ndarray) -> bool:
        return array.ndim == len(shape) and all(s is None or s == d for s, d in zip(shape, array.shape, strict=True))

    if not fits(value) and value.ndim == 4:
        for axes in ((0, 2, 3, 1), (0, 3, 1, 2)):  # channels last, channels first
            if fits(value.transpose(axes)):
                return value.transpose(axes)
    return value


def openvino(path: Path) -> Run:
    import openvino

    core = openvino.Core()
    plain = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
    model = core.compile_model(core.read_model(path), "CPU", plain)
    wanted = [
        (p.any_name, [d.get_length() if d.is_static else None for d in p.partial_shape], p.element_type.to_dtype())
        for p in model.inputs
    ]

    def run(row: Row) -> list[np.ndarray]:
        found = model(paired(row, wanted))
        return [found[port].copy() for port in model.outputs]

    return run


def reference(path: Path) -> Run:
    import onnx
    from onnx.reference import ReferenceEvaluator

    return _evaluated(onnx.load(path), ReferenceEvaluator(str(path)))


def onnx_file(path: Path) -> Run:
    """In the first runtime that knows all operators: trees are none of OpenVINO's, onnxruntime's own no one else's."""
    for load in (openvino, reference):
        try:
            return load(path)
        except Exception:  # each has its own way to say so
            continue
    return onnxruntime(path)


def onnxruntime(path: Path) -> Run:
    """For a second opinion only: it is what the proof runs on."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return _evaluated(onnx.load(path), session)


def _evaluated(model: Any, session: Any) -> Run:
    from onnx.helper import tensor_dtype_to_np_dtype

    held = {t.name for t in model.graph.initializer}
    wanted = [
        (
            v.name,
            [d.dim_value if d.HasField("dim_value") else None for d in v.type.tensor_type.shape.dim],
            tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type),
        )
        for v in model.graph.input
        if v.name not in held
    ]
    return lambda row: [np.asarray(v) for v in session.run(None, paired(row, wanted))]


def tflite(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=kernels, num_threads=2)
    wanted = [
        (d["name"], [int(n) if n >= 0 else None for n in d["shape_signature"]], d["dtype"])
        for d in interpreter.get_input_details()
    ]

    def run(row: Row) -> list[np.ndarray]:
        given = paired(row, wanted)
        for about in interpreter.get_input_details():
            if tuple(about["shape"]) != given[about["name"]].shape:
                interpreter.resize_tensor_input(about["index"], given[about["name"]].shape)
        interpreter.allocate_tensors()
        for about in interpreter.get_input_details():
            interpreter.set_tensor(about["index"], given[about["name"]])
        interpreter.invoke()
        return [interpreter.get_tensor(about["index"]).copy() for about in interpreter.get_output_details()]

    return run


def pt2(path: Path) -> Run:
    import torch

    program = torch.export.load(path)
    module = program.module()
    kept = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"}
    names = list(program.graph_signature.user_inputs)
    wanted = [
        (n, [d if isinstance(d, int) else None for d in kept[n].shape], torch.empty((), dtype=kept[n].dtype).numpy().dtype)
        for n in names
    ]

    def run(row: Row) -> list[np.ndarray]:
        given = paired(row, wanted)
        with torch.no_grad():
            found = module(*(torch.from_numpy(given[n].copy()) for n in names))
        found = found if isinstance(found, list | tuple) else [found]
        return [v.numpy() for v in found]

    return run


LOADERS: dict[str, Callable[[Path], Run]] = {"onnx": onnx_file, "openvino": openvino, "tflite": tflite, "pt2": pt2}
