"""Tiny TensorFlow Lite files made with flatbuffers: an image classifier, and one whose weights lie behind the flatbuffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from lib.tflite import associated_files, metadata_table, repack

SIZE = 8  # pixels a side
AXES = np.array([1, 2], np.int32)


def _tensor(name: str, shape: list[int], buffer: int = 0, kind: int = schema.TensorType.FLOAT32) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.buffer, made.type = name.encode(), shape, buffer, kind
    return made


def _operator(code: int, inputs: list[int], outputs: list[int], kind: str, **options: Any) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    made.builtinOptions = getattr(schema, f"{kind}T")()
    for name, value in options.items():
        setattr(made.builtinOptions, name, value)
    return made


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def classifier_model(classes: int = 4) -> tuple[Any, np.ndarray]:
    """``image`` [1, 8, 8, 3] -> ``scores`` [1, classes] = softmax(weights @ mean colour), and the weights."""
    weights = (np.random.default_rng(0).standard_normal((classes, 3)) / 64).astype(np.float32)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers = [schema.BufferT() for _ in range(3)]
    for buffer, values in zip(model.buffers[1:], (AXES, weights), strict=True):
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.operatorCodes = []
    for name in ("MEAN", "FULLY_CONNECTED", "SOFTMAX"):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        model.operatorCodes.append(code)
    graph.tensors = [
        _tensor("image", [1, SIZE, SIZE, 3]),
        _tensor("axes", [2], 1, schema.TensorType.INT32),
        _tensor("weights", [classes, 3], 2),
        _tensor("colour", [1, 3]),
        _tensor("logits", [1, classes]),
        _tensor("scores", [1, classes]),
    ]
    graph.inputs, graph.outputs = [0], [5]
    graph.operators = [
        _operator(0, [0, 1], [3], "ReducerOptions", keepDims=False),
        _operator(1, [3, 2, -1], [4], "FullyConnectedOptions"),
        _operator(2, [4], [5], "SoftmaxOptions", beta=1.0),
    ]
    return model, weights


def classifier(path: Path, classes: int = 4) -> np.ndarray:
    """Writes ``classifier_model``; its weights."""
    model, weights = classifier_model(classes)
    path.write_bytes(packed(model))
    return weights


def scores(weights: np.ndarray, picture: np.ndarray, mean: Any = 0.0, std: Any = 1.0) -> np.ndarray:
    """What the classifier computes of a picture uint8 [8, 8, 3]."""
    logits = ((picture.astype(np.float64) - mean) / std).mean((0, 1)) @ weights.T
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


def table(path: Path) -> Any:
    """The file's metadata as MediaPipe's generated objects."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (entry,) = (m for m in model.metadata if m.name == b"TFLITE_METADATA")
    return metadata_table.generated().ModelMetadataT.InitFromPackedBuf(model.buffers[entry.buffer].data.tobytes(), 0)


def with_table(path: Path, metadata: bytes, classes: int = 4) -> None:
    """Writes the classifier with these bytes as its metadata; no associated files."""
    model, _ = classifier_model(classes)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    model.metadata = [entry("TFLITE_METADATA", len(model.buffers))]
    model.buffers.append(buffer)
    path.write_bytes(packed(model))


def outside(model: Any) -> bytes:
    """The model with its buffers behind the flatbuffer, as AI Edge Quantizer writes all but small ones."""
    held = [None if b.data is None else b.data.tobytes() for b in model.buffers]
    for buffer, data in zip(model.buffers, held, strict=True):
        buffer.data, buffer.offset, buffer.size = None, int(data is not None), int(data is not None)
    at, tail = 0, b""
    for _ in range(2):  # the flatbuffer is as long with other numbers in it
        head = packed(model)
        head, tail = head + bytes(-len(head) % 16), b""
        for buffer, data in zip(model.buffers, held, strict=True):
            if data is not None:
                at = len(head) + len(tail)
                buffer.offset, buffer.size = at, len(data)
                tail += data + bytes(-len(data) % 16)
    return head + tail


def entry(name: str, buffer: int) -> Any:
    """An entry of metadata; with no name, one that has none."""
    made = schema.MetadataT()
    made.name, made.buffer = name.encode() or None, buffer
    return made


def far_buffer(offset: int, size: int) -> Any:
    made = schema.BufferT()
    made.offset, made.size = offset, size
    return made


def with_file(path: Path, name: str, data: bytes) -> None:
    """Gives the file at ``path`` the associated file ``name``, and no others."""
    repack.save(repack.unpack(path), path)
    associated_files.append(path, {name: data})
