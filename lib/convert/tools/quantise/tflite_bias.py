"""Fixes biases of int8 products that AI Edge Quantizer lets overflow 32 bits, in the file's bytes.

A bias's scale is its input's times its weight's. A channel whose weights are nearly 0 has so small a scale that its bias
overflows. There the weight's scale is enlarged: its integers shrink, mostly to 0, and the bias fits.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lib.tflite import file as tflite_file

INT8, INT32 = 9, 2  # TensorType
PRODUCTS = (3, 4, 9)  # CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED
MAX_STEPS = 2**30  # largest bias that is left alone, in steps
ROOM = 2**29  # steps of a bias after its scale was enlarged


def without_bias_overflow(data: bytes, source: dict[str, Any]) -> bytes:
    """Returns the quantised file ``data`` with its biases fixed. ``source``: the float file as read by ``tflite_file``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / tflite_file.NAME
        path.write_bytes(data)
        model = tflite_file.read(path)
        patched = bytearray(data)
        start = np.frombuffer(model["whole"], np.uint8).__array_interface__["data"][0]

        def put(place: np.ndarray, values: np.ndarray) -> None:
            offset = place.__array_interface__["data"][0] - start
            patched[offset : offset + place.nbytes] = np.ascontiguousarray(values, place.dtype).tobytes()

        for number, graph in enumerate(model["subgraphs"]):
            floats = {t["name"]: t for t in source["subgraphs"][number]["tensors"]}
            for operator in graph["operators"]:
                if tflite_file.code(model, operator) in PRODUCTS:
                    _fix_overflow(model, source, graph, operator, floats, put)
        return bytes(patched)


def _fix_overflow(model: dict[str, Any], source: dict[str, Any], graph: Any, operator: Any, floats: Any, put: Any) -> None:
    inputs = operator["inputs"].tolist()
    if len(inputs) < 3 or min(inputs[:3]) < 0:
        return
    activation, weight, bias = (graph["tensors"][k] for k in inputs[:3])
    float_bias = floats.get(bias["name"])
    exact = tflite_file.stored(source, float_bias) if float_bias else None
    if (weight["type"], bias["type"]) != (INT8, INT32) or exact is None or exact.dtype != np.float32:
        return
    scales, steps = weight["quantization"]["scale"], bias["quantization"]["scale"]
    weights, biases = tflite_file.stored(model, weight), tflite_file.stored(model, bias)
    original = floats.get(weight["name"])
    floating = tflite_file.stored(source, original) if original else None
    if weights is None or biases is None or floating is None or floating.shape != weights.shape:
        return
    if not len(scales) == len(steps) == exact.size == biases.size:
        return
    step = steps.astype(np.float64)
    overflows = np.abs(exact.reshape(-1)) > MAX_STEPS * step
    if not overflows.any():
        return
    input_scale = float(activation["quantization"]["scale"][0])
    wider = np.where(overflows, np.abs(exact.reshape(-1)) / ROOM, step)
    put(steps, wider)
    put(scales, np.where(overflows, wider / input_scale, scales))
    put(biases, np.where(overflows, np.rint(exact.reshape(-1) / wider), biases.reshape(-1)).reshape(biases.shape))
    axis = int(weight["quantization"]["dimension"])
    shape = [-1 if k == axis else 1 for k in range(weights.ndim)]
    smaller = np.rint(floating / (wider / input_scale).reshape(shape))
    put(weights, np.where(overflows.reshape(shape), smaller, weights))
