"""Errors put into a finished file, as a tool could make them. Each writes ``target`` from ``source``, a .tflite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.tflite import metadata, repack

CONV, FULLY_CONNECTED = 3, 9  # BuiltinOperator


def _metadata(source: Path, target: Path, **changes: Any) -> None:
    found = metadata.read(source)
    assert found is not None
    metadata.write(source, target, replace(found, **changes))


def labels_shuffled(source: Path, target: Path) -> None:
    found = metadata.read(source)
    assert found is not None
    _metadata(source, target, labels=(*found.labels[1:], found.labels[0]))


def normalized_twice(source: Path, target: Path) -> None:
    """As if the normalization were not inside."""
    _metadata(source, target, mean=(127.0,), std=(128.0,))


def _changed(model: Any, source: Path, target: Path) -> None:
    """Packs the model and gives it the metadata that it had."""
    found = metadata.read(source)
    assert found is not None
    bare = target.with_suffix(".bare")
    repack.save(model, bare)
    metadata.write(bare, target, found)
    bare.unlink()


def _conv(model: Any) -> tuple[Any, Any]:
    """The first convolution's weights: their tensor and their buffer."""
    graph = model.subgraphs[0]
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    first = next(o for o in graph.operators if codes[o.opcodeIndex] == CONV)
    return _kept(model, first.inputs[1])


def _kept(model: Any, index: int) -> tuple[Any, Any]:
    """A constant tensor and its buffer."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[index]
    while model.buffers[tensor.buffer].data is None or not len(model.buffers[tensor.buffer].data):  # float16: it is widened
        maker = next(o for o in graph.operators if list(o.outputs) == [graph.tensors.index(tensor)])
        tensor = graph.tensors[maker.inputs[0]]
    return tensor, model.buffers[tensor.buffer]


DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 9: np.int8}


def _values(tensor: Any, buffer: Any) -> np.ndarray:
    return np.frombuffer(bytes(buffer.data), DTYPES[tensor.type]).reshape(tensor.shape).copy()


def channels_swapped(source: Path, target: Path) -> None:
    """Red and blue, in the weights that read them."""
    model = repack.unpack(source)
    tensor, buffer = _conv(model)
    buffer.data = np.frombuffer(np.ascontiguousarray(_values(tensor, buffer)[..., ::-1]).tobytes(), np.uint8)
    _changed(model, source, target)


def scale_wrong(source: Path, target: Path) -> None:
    """Of the first convolution: the weights' scale where they are integers, else the weights themselves."""
    model = repack.unpack(source)
    tensor, buffer = _conv(model)
    if tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale):
        tensor.quantization.scale = np.asarray(tensor.quantization.scale, np.float32) * 2
    else:
        values = _values(tensor, buffer)
        buffer.data = np.frombuffer((values * 2).astype(values.dtype).tobytes(), np.uint8)
    _changed(model, source, target)


def normalization_left_out(source: Path, target: Path) -> None:
    """Inside the graph: whatever is subtracted from the pixels, and what they are multiplied by, does nothing."""
    model = repack.unpack(source)
    graph = model.subgraphs[0]
    seen, changed = set(graph.inputs), 0
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    neutral = {0: 0.0, 41: 0.0, 18: 1.0, 42: 1.0}  # ADD, SUB, MUL, DIV
    for operator in graph.operators:
        kind = codes[operator.opcodeIndex]
        if operator.inputs[0] not in seen:
            continue
        if kind == CONV:
            break
        seen |= set(operator.outputs)
        if kind in neutral:
            tensor = graph.tensors[operator.inputs[1]]
            buffer, wanted = model.buffers[tensor.buffer], neutral[kind]
            values = _values(tensor, buffer)
            if values.dtype == np.int8:
                tensor.quantization.scale = np.full_like(
                    np.asarray(tensor.quantization.scale, np.float32), max(wanted, 1e-6) / 127
                )
                tensor.quantization.zeroPoint = np.zeros_like(np.asarray(tensor.quantization.zeroPoint))
                values = np.full_like(values, 127)
            else:
                values = np.full_like(values, wanted)
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            changed += 1
    assert changed
    _changed(model, source, target)


def _last(change: Callable[[np.ndarray, np.ndarray], None], source: Path, target: Path) -> None:
    """``change`` gets the last layer's weights, a row for each class, and its bias: real values, to be changed in place."""
    model = repack.unpack(source)
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    layer = [o for o in model.subgraphs[0].operators if codes[o.opcodeIndex] in (CONV, FULLY_CONNECTED)][-1]
    kept = [_kept(model, layer.inputs[k]) for k in (1, 2)]
    values = [_values(*one) for one in kept]
    real = [value * _scales(tensor, value) for (tensor, _), value in zip(kept, values, strict=True)]
    change(*real)
    for (tensor, buffer), value, wanted in zip(kept, values, real, strict=True):
        made = wanted / _scales(tensor, value)
        if value.dtype.kind == "i":
            most = np.iinfo(value.dtype).max
            made = np.clip(np.rint(made), -most, most)
        buffer.data = np.frombuffer(np.ascontiguousarray(made.astype(value.dtype)).tobytes(), np.uint8)
    _changed(model, source, target)


def _scales(tensor: Any, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind != "i":
        return np.float64(1)
    return np.asarray(tensor.quantization.scale, np.float64).reshape(-1, *[1] * (value.ndim - 1))


def two_classes_swapped(source: Path, target: Path) -> None:
    """The last two: what the first says stays right."""

    def change(*values: np.ndarray) -> None:
        for value in values:
            value[-2:] = value[[-1, -2]]

    _last(change, source, target)


def class_never_answered(source: Path, target: Path) -> None:
    def change(_: np.ndarray, bias: np.ndarray) -> None:
        bias[-1] -= 30

    _last(change, source, target)


def class_row_zeroed(source: Path, target: Path) -> None:
    def change(weights: np.ndarray, _: np.ndarray) -> None:
        weights[-1] = 0

    _last(change, source, target)


def always_the_same(source: Path, target: Path) -> None:
    """Whatever the picture."""

    def change(weights: np.ndarray, _: np.ndarray) -> None:
        weights[:] = 0

    _last(change, source, target)


PLANTS: dict[str, Callable[[Path, Path], None]] = {
    plant.__name__: plant
    for plant in (
        labels_shuffled,
        normalized_twice,
        normalization_left_out,
        channels_swapped,
        scale_wrong,
        two_classes_swapped,
        class_never_answered,
        class_row_zeroed,
        always_the_same,
    )
}
