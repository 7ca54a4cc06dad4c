"""Tiny TensorFlow Lite files from rows of a table: tensors, operators. Made with flatbuffers; no converter is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


@dataclass
class Tensor:
    """``data`` makes it a weight; ``scale`` and ``zero`` quantise it; -1 in ``shape`` is a free dimension."""

    name: str
    shape: list[int]
    dtype: str = "float32"
    data: np.ndarray | None = None
    scale: list[float] = field(default_factory=list)
    zero: list[int] = field(default_factory=list)
    axis: int = 0


@dataclass
class Op:
    """``name`` of BuiltinOperator, or of a custom operator with ``custom``; ``kind`` of its options."""

    name: str
    inputs: list[int]
    outputs: list[int]
    kind: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    custom: bool = False


def graph(tensors: list[Tensor], ops: list[Op], inputs: list[int], outputs: list[int], model: Any) -> Any:
    made = schema.SubGraphT()
    made.inputs, made.outputs = inputs, outputs
    made.tensors, made.operators = [], []
    for one in tensors:
        tensor = schema.TensorT()
        tensor.name, tensor.type = one.name.encode(), getattr(schema.TensorType, one.dtype.upper())
        tensor.shape = [max(d, 1) for d in one.shape]
        tensor.shapeSignature = one.shape if -1 in one.shape else None
        tensor.buffer = 0
        if one.data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(one.data).tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if one.scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array(one.scale, np.float32)
            tensor.quantization.zeroPoint = np.array(one.zero or [0] * len(one.scale), np.int64)
            tensor.quantization.quantizedDimension = one.axis
        made.tensors.append(tensor)
    for one in ops:
        code = schema.OperatorCodeT()
        number = schema.BuiltinOperator.CUSTOM if one.custom else getattr(schema.BuiltinOperator, one.name)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        code.customCode = one.name.encode() if one.custom else None
        model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, one.inputs, one.outputs
        if one.kind:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, one.kind)
            operator.builtinOptions = getattr(schema, f"{one.kind}T")()
            for name, value in one.options.items():
                setattr(operator.builtinOptions, name, value)
        made.operators.append(operator)
    return made


def write(path: Path, tensors: list[Tensor], ops: list[Op], inputs: list[int], outputs: list[int], *more: Any) -> Path:
    """``more``: (tensors, ops, inputs, outputs) of further graphs."""
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    model.subgraphs = [graph(*one, model) for one in ((tensors, ops, inputs, outputs), *more)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def weight(name: str, shape: list[int], dtype: str = "float32", **more: Any) -> Tensor:
    rng = np.random.default_rng(len(name))
    data = rng.integers(-100, 100, shape) if np.dtype(dtype).kind == "i" else rng.standard_normal(shape)
    return Tensor(name, shape, dtype, data.astype(dtype), **more)
