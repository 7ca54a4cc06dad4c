"""What the tensors of a TensorFlow Lite file's main graph reach, and the means that rounding needs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.tools.calibration import Row
from lib.convert.tools.quantise.ranges import COUNTED, PASS_SECONDS, Ranges, spread, within
from lib.convert.tools.quantise.rounding import Means, kept_mean
from lib.errors import JobFailed
from lib.onnx_model.words import clean
from lib.tflite import file as tflite_file
from lib.tflite.signatures import SignatureGraph

CONV, DEPTHWISE, DENSE = 3, 4, 9  # BuiltinOperator
PRODUCTS = (CONV, DEPTHWISE, DENSE)


def measured(
    path: Path, model: dict[str, Any], part: SignatureGraph, rows: list[Row], report: Callable[[float], object]
) -> tuple[Ranges, dict[int, np.ndarray]]:
    """Ranges by the tensor's name, and the mean of each channel of the products' inputs by the operator's place."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph = model["subgraphs"][0]
    floats = [k for k, t in enumerate(graph["tensors"]) if t["type"] == 0 and tflite_file.stored(model, t) is None]
    watched = {graph["tensors"][k]["name"]: k for k in floats}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            interpreter = Interpreter(
                model_path=str(path),
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                num_threads=2,
            )
        found, means = Ranges(), Means()
        for k, (step, some) in enumerate(((found.see, rows), (found.count, spread(rows, COUNTED)))):
            for done, row in enumerate(within(some, PASS_SECONDS)):
                tensors = _run(interpreter, part, row, watched)
                step(tensors)
                if not k:
                    _means(model, tensors, means)
                report((k + (done + 1) / len(some)) / 2)
    except (ValueError, RuntimeError) as error:
        raise JobFailed(f"The LiteRT interpreter refuses a calibration input: {clean(str(error))}") from None
    return found, {k: m for k in range(len(graph["operators"])) if (m := means.of(str(k))) is not None}


def rounded(model: dict[str, Any], means: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """The weights of products, rounded by what their inputs are on average (``rounding``); by the operator's place."""
    graph = model["subgraphs"][0]
    readers = Counter(tensor["buffer"] for every in model["subgraphs"] for tensor in every["tensors"])
    out = {}
    for place, mean in means.items():
        operator = graph["operators"][place]
        tensor = graph["tensors"][int(operator["inputs"][1])]
        weight = tflite_file.stored(model, tensor)
        if weight is not None and weight.dtype == np.float32 and readers[tensor["buffer"]] == 1:
            out[place] = _rounded(tflite_file.code(model, operator), weight, mean)
    return out


def with_weights(model: dict[str, Any], weights: dict[int, np.ndarray]) -> bytes:
    """The file's bytes with other weights of its products, by the operator's place."""
    whole = bytearray(model["whole"])
    start = np.frombuffer(model["whole"], np.uint8).__array_interface__["data"][0]
    graph = model["subgraphs"][0]
    for place, made in weights.items():
        before = tflite_file.stored(model, graph["tensors"][int(graph["operators"][place]["inputs"][1])])
        assert before is not None and before.nbytes == made.nbytes
        at = before.__array_interface__["data"][0] - start
        whole[at : at + made.nbytes] = made.tobytes()
    return bytes(whole)


def _rounded(code: int, weight: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """float32, as ``weight`` has it: [out, ..., in], or [1, height, width, out] of a depthwise one."""
    if code == DEPTHWISE:
        channels = weight.shape[-1]
        if weight.ndim != 4 or weight.shape[0] != 1 or channels % len(mean):
            return weight
        rows = np.moveaxis(weight, -1, 0).reshape(channels, -1)
        made = kept_mean(rows, np.repeat(mean, channels // len(mean))[:, None], 127, per_channel=True)
        return np.ascontiguousarray(np.moveaxis(made.reshape(channels, *weight.shape[:3]), 0, -1), "<f4")
    if weight.shape[-1] != len(mean):
        return weight  # a convolution in groups
    rows = weight.reshape(len(weight), -1)
    inputs = np.tile(mean, rows.shape[1] // len(mean))[None]
    return np.ascontiguousarray(kept_mean(rows, inputs, 127, per_channel=True).reshape(weight.shape), "<f4")


def _means(model: dict[str, Any], tensors: dict[str, np.ndarray], means: Means) -> None:
    graph = model["subgraphs"][0]
    for place, operator in enumerate(graph["operators"]):
        if tflite_file.code(model, operator) in PRODUCTS and len(operator["inputs"]) > 1:
            values = tensors.get(graph["tensors"][int(operator["inputs"][0])]["name"])
            if values is not None and values.ndim and values.size:
                means.see(str(place), values, -1)


def _run(interpreter: Any, part: SignatureGraph, row: Row, watched: dict[str, int]) -> dict[str, np.ndarray]:
    part.invoke(interpreter, row)
    out = {}
    for name, index in watched.items():
        try:
            out[name] = interpreter.get_tensor(index)
        except ValueError:  # a tensor of a branch, or one that is never made
            continue
    return out
