"""A tiny TensorFlow Lite file made with flatbuffers: no converter is needed. For tests of runner, reader and edges."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Array = np.ndarray


def _tensor(name: str, shape: list[int], buffer: int, free: bool) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.shape, made.buffer, made.type = name.encode(), shape, buffer, schema.TensorType.FLOAT32
    if free:
        made.shapeSignature = [-1, *shape[1:]]
    return made


def _named(name: str, number: int) -> schema.TensorMapT:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), number
    return made


def dense(folder: Path, *, free: bool = True, width: int = 8, signed: bool = True) -> tuple[Path, Array, Array]:
    """``x`` [batch, width] -> ``y`` [batch, 4] = relu(x @ weights.T + bias). Returns folder, weights and bias."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, width)).astype(np.float32)
    bias = rng.standard_normal(4).astype(np.float32)
    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT() for _ in range(3)]
    for buffer, values in zip(model.buffers[1:], (weights, bias), strict=True):
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    graph.tensors = [
        _tensor("x", [1, width], 0, free),
        _tensor("weights", [4, width], 1, False),
        _tensor("bias", [4], 2, False),
        _tensor("y", [1, 4], 0, free),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [3], [operator]
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    if signed:
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = [_named("x", 0)], [_named("y", 3)]
        model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(builder.Output())
    return folder, weights, bias


def batch_matmul(folder: Path, width: int = 64, outputs: int = 10) -> Path:
    """``x`` [batch, width] -> ``y`` [batch, outputs] by BATCH_MATMUL with constant weights, as Keras writes it."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((width, outputs)).astype(np.float32)
    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT() for _ in range(2)]
    model.buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.BATCH_MATMUL
    code.version = 1
    graph.tensors = [
        _tensor("x", [1, width], 0, True),
        _tensor("weights", [width, outputs], 1, False),
        _tensor("y", [1, outputs], 0, True),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.BatchMatMulOptions
    operator.builtinOptions = schema.BatchMatMulOptionsT()
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [_named("x", 0)], [_named("y", 2)]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(builder.Output())
    return folder
