"""Unpacks a TensorFlow Lite model into objects of the schema, and packs them again, including weights.

AI Edge Quantizer stores the weights of all but small models after the flatbuffer, by offset and size, and the
generated classes would only pack these numbers. Here such weights are moved into the flatbuffer. Needs ai_edge_litert.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile
from lib.tflite import file as tflite_file
from lib.tflite.flatbuffer import check_tflite

MAX_BYTES = (1 << 31) - (64 << 20)  # flatbuffer offsets are limited to 2 GB, some of which the structure needs
ALIGNED = 16  # alignment of weights in bytes, as in the schema
ROOM = 1 << 20


def unpack(path: Path) -> Any:
    """Returns the model as a ModelT with all weights in its buffers. Raises InvalidFile, also for weights over 2 GB."""
    from ai_edge_litert import schema_py_generated as schema

    check_tflite(path)
    parsed = tflite_file.read(path)
    _fits(sum(len(b["data"]) or b["size"] for b in parsed["buffers"]))
    data = parsed["whole"]
    model: Any = schema.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            at, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
            if at > 1:
                operator.customOptions = np.frombuffer(data, np.uint8, size, at)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    return model


def set_metadata_entry(model: Any, name: str, data: bytes) -> None:
    """Sets the metadata entry ``name`` of the model, replacing an existing one."""
    from ai_edge_litert import schema_py_generated as schema

    entry = next((m for m in model.metadata or () if m.name == name.encode()), None)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    if entry is not None and not _shared(model, entry):
        model.buffers[entry.buffer] = buffer
        return
    if entry is None:
        entry = schema.MetadataT()
        entry.name = name.encode()
        model.metadata = [*(model.metadata or ()), entry]
    entry.buffer = len(model.buffers)
    model.buffers.append(buffer)


def save(model: Any, target: Path) -> None:
    """Packs the ModelT of ``unpack`` to ``target``, which may be the original file.

    Data after the flatbuffer are dropped.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    weight_bytes = sum(0 if b.data is None else len(b.data) for b in model.buffers)
    _fits(weight_bytes)
    copied = schema.ModelT(**vars(model))
    copied.buffers = [_Buffer(b.data) for b in model.buffers]
    builder = flatbuffers.Builder(weight_bytes + ALIGNED * len(copied.buffers) + ROOM)
    builder.Finish(copied.Pack(builder), tflite_file.IDENTIFIER)
    part = target.with_name(f"{target.name}.part")  # the weights may still be read from the target
    part.write_bytes(memoryview(builder.Bytes)[builder.Head() :])
    check_tflite(part)
    tflite_file.read(part)
    os.replace(part, target)


def _shared(model: Any, entry: Any) -> bool:
    """Whether something else also uses the entry's buffer, or it is the empty buffer."""
    tensors = any(t.buffer == entry.buffer for g in model.subgraphs for t in g.tensors or ())
    return tensors or entry.buffer == 0 or any(m is not entry and m.buffer == entry.buffer for m in model.metadata)


def _fits(held: int) -> None:
    if held > MAX_BYTES:
        raise InvalidFile(
            f"The weights of the TensorFlow Lite file take {held / 1e9:.1f} GB; it can only be rewritten with at most "
            f"{MAX_BYTES / 1e9:.1f} GB. Make the weights float16 or int8 first."
        )


class _Buffer:
    """Packs the bytes of a buffer with alignment, which the generated class does not."""

    def __init__(self, data: np.ndarray | None) -> None:
        self._data = data

    def Pack(self, builder: Any) -> int:
        from ai_edge_litert import schema_py_generated as schema

        place = None
        if self._data is not None and len(self._data):
            builder.StartVector(1, len(self._data), ALIGNED)
            start = builder.Head() - len(self._data)
            builder.Bytes[start : start + len(self._data)] = memoryview(self._data)
            builder.head = start
            place = builder.EndVector()
        schema.BufferStart(builder)
        if place is not None:
            schema.BufferAddData(builder, place)
        return schema.BufferEnd(builder)
