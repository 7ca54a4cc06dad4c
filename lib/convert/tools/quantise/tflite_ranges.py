"""Measures ranges of a TensorFlow Lite file's main graph and the means that rounding needs; rounds its weights."""

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
    """Returns ranges by tensor name, and the channel means of the products' inputs by operator index.

    Raises JobFailed if the interpreter refuses an input.
    """
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
        ranges, means = Ranges(), Means()
        for k, (step, samples) in enumerate(((ranges.see, rows), (ranges.count, spread(rows, COUNTED)))):
            for done, row in enumerate(within(samples, PASS_SECONDS)):
                tensors = _run(interpreter, part, row, watched)
                step(tensors)
                if not k:
                    _means(model, tensors, means)
                report((k + (done + 1) / len(samples)) / 2)
    except (ValueError, RuntimeError) as error:
        raise JobFailed(f"The LiteRT interpreter refuses a calibration input: {clean(str(error))}") from None
    return ranges, {k: m for k in range(len(graph["operators"])) if (m := means.of(str(k))) is not None}


def rounded(model: dict[str, Any], means: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Returns the products' weights by operator index, rounded to preserve their output's mean (``rounding``)."""
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
    """Returns the file's bytes with new weights for its products, given by operator index."""
    data = bytearray(model["whole"])
    start = np.frombuffer(model["whole"], np.uint8).__array_interface__["data"][0]
    graph = model["subgraphs"][0]
    for place, values in weights.items():
        stored = tflite_file.stored(model, graph["tensors"][int(graph["operators"][place]["inputs"][1])])
        assert stored is not None and stored.nbytes == values.nbytes
        offset = stored.__array_interface__["data"][0] - start
        data[offset : offset + values.nbytes] = values.tobytes()
    return bytes(data)


def _rounded(code: int, weight: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rounds a float32 weight in its layout: [out, ..., in], or [1, height, width, out] for a depthwise convolution."""
    if code == DEPTHWISE:
        channels = weight.shape[-1]
        if weight.ndim != 4 or weight.shape[0] != 1 or channels % len(mean):
            return weight
        rows = np.moveaxis(weight, -1, 0).reshape(channels, -1)
        result = kept_mean(rows, np.repeat(mean, channels // len(mean))[:, None], 127, per_channel=True)
        return np.ascontiguousarray(np.moveaxis(result.reshape(channels, *weight.shape[:3]), 0, -1), "<f4")
    if weight.shape[-1] != len(mean):
        return weight  # a grouped convolution
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
        except ValueError:  # a tensor of a branch that did not run, or one that is never computed
            continue
    return out
