"""Biases of int8 products that AI Edge Quantizer lets wrap around in 32 bits, put right in the file's bytes.

A bias counts in steps of its input's times its weight's. A channel whose weights are nearly 0 has such small steps that
its bias has no room. There the weight's steps are made larger: its integers become smaller, mostly 0, and the bias is kept.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lib.tflite import file as tflite_file

INT8, INT32 = 9, 2  # TensorType
PRODUCTS = (3, 4, 9)  # CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED
MAX_STEPS = 2**30  # steps of a bias
ROOM = 2**29  # steps that it gets where it had too many


def without_bias_overflow(data: bytes, source: dict[str, Any]) -> bytes:
    """``data`` is a quantised file, ``source`` the float one as ``tflite_file`` reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / tflite_file.NAME
        path.write_bytes(data)
        model = tflite_file.read(path)
        whole = bytearray(data)
        start = np.frombuffer(model["whole"], np.uint8).__array_interface__["data"][0]

        def put(place: np.ndarray, values: np.ndarray) -> None:
            at = place.__array_interface__["data"][0] - start
            whole[at : at + place.nbytes] = np.ascontiguousarray(values, place.dtype).tobytes()

        for number, graph in enumerate(model["subgraphs"]):
            floats = {t["name"]: t for t in source["subgraphs"][number]["tensors"]}
            for operator in graph["operators"]:
                if tflite_file.code(model, operator) in PRODUCTS:
                    _fix_overflow(model, source, graph, operator, floats, put)
        return bytes(whole)


def _fix_overflow(model: dict[str, Any], source: dict[str, Any], graph: Any, operator: Any, floats: Any, put: Any) -> None:
    inputs = operator["inputs"].tolist()
    if len(inputs) < 3 or min(inputs[:3]) < 0:
        return
    given, weight, bias = (graph["tensors"][k] for k in inputs[:3])
    known = floats.get(bias["name"])
    exact = tflite_file.stored(source, known) if known else None
    if (weight["type"], bias["type"]) != (INT8, INT32) or exact is None or exact.dtype != np.float32:
        return
    scales, steps = weight["quantization"]["scale"], bias["quantization"]["scale"]
    held, integers = tflite_file.stored(model, weight), tflite_file.stored(model, bias)
    original = floats.get(weight["name"])
    floating = tflite_file.stored(source, original) if original else None
    if held is None or integers is None or floating is None or floating.shape != held.shape:
        return
    if not len(scales) == len(steps) == exact.size == integers.size:
        return
    step = steps.astype(np.float64)
    far = np.abs(exact.reshape(-1)) > MAX_STEPS * step
    if not far.any():
        return
    one = float(given["quantization"]["scale"][0])
    wider = np.where(far, np.abs(exact.reshape(-1)) / ROOM, step)
    put(steps, wider)
    put(scales, np.where(far, wider / one, scales))
    put(integers, np.where(far, np.rint(exact.reshape(-1) / wider), integers.reshape(-1)).reshape(integers.shape))
    axis = int(weight["quantization"]["dimension"])
    shape = [-1 if k == axis else 1 for k in range(held.ndim)]
    fewer = np.rint(floating / (wider / one).reshape(shape))
    put(held, np.where(far.reshape(shape), fewer, held))
