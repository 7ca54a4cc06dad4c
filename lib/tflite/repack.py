"""Writes a TensorFlow Lite model again with an entry of metadata, all of its weights in the flatbuffer.

AI Edge Quantizer keeps weights behind the flatbuffer, by offset and size; the offsets of a file that is packed again
would point anywhere. Needs ai_edge_litert.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile
from lib.tflite import file as tflite_file
from lib.tflite.flatbuffer import check_tflite

MOST_BYTES = (1 << 31) - (64 << 20)  # a flatbuffer's offsets reach 2 GB; what is not weights needs some
ALIGNED = 16  # of weights, as the schema has it


def with_entry(source: Path, target: Path, name: str, data: bytes) -> None:
    """Writes ``source`` to ``target`` with the entry ``name`` holding ``data``; what follows the model is left out."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    check_tflite(source)
    read = tflite_file.read(source)
    held = sum(len(b["data"]) or b["size"] for b in read["buffers"]) + len(data)
    if held > MOST_BYTES:
        raise InvalidFile(
            f"The model has {held / 1e9:.1f} GB of weights; with metadata a TensorFlow Lite file holds at most "
            f"{MOST_BYTES / 1e9:.1f} GB. Make its weights float16 or int8 first."
        )
    model: Any = schema.ModelT.InitFromPackedBuf(read["whole"], 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(read["whole"], np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            if operator.largeCustomOptionsOffset > 1:
                place = operator.largeCustomOptionsSize, operator.largeCustomOptionsOffset
                operator.customOptions = np.frombuffer(read["whole"], np.uint8, *place)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    _enter(model, schema, name, data)
    model.buffers = [_Buffer(schema, b.data) for b in model.buffers]
    builder = flatbuffers.Builder(held + (1 << 20))
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    target.write_bytes(memoryview(builder.Bytes)[builder.Head() :])
    check_tflite(target)


def _enter(model: Any, schema: Any, name: str, data: bytes) -> None:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    model.metadata = [m for m in model.metadata or () if m.name != name.encode()]
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    model.metadata.append(entry)
    model.buffers.append(buffer)


class _Buffer:
    """Packs a buffer's bytes aligned, which the generated class does not."""

    def __init__(self, schema: Any, data: np.ndarray | None) -> None:
        self._schema, self._data = schema, data

    def Pack(self, builder: Any) -> int:
        place = None
        if self._data is not None and len(self._data):
            builder.StartVector(1, len(self._data), ALIGNED)
            start = builder.Head() - len(self._data)
            builder.Bytes[start : start + len(self._data)] = memoryview(self._data)
            builder.head = start
            place = builder.EndVector()
        self._schema.BufferStart(builder)
        if place is not None:
            self._schema.BufferAddData(builder, place)
        return self._schema.BufferEnd(builder)
