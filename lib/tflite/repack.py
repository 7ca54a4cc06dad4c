"""Takes a TensorFlow Lite model apart into the schema's objects and packs them again, weights and all.

AI Edge Quantizer keeps the weights of all but small models behind the flatbuffer, by offset and size, and the
generated classes would pack those numbers alone: such weights come inside. Needs ai_edge_litert.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile
from lib.tflite import file as tflite_file
from lib.tflite.flatbuffer import check_tflite

MAX_BYTES = (1 << 31) - (64 << 20)  # a flatbuffer's offsets reach 2 GB; what is not weights needs some
ALIGNED = 16  # of weights, as the schema has it
ROOM = 1 << 20


def unpack(path: Path) -> Any:
    """The model as a ModelT with all weights in its buffers. Raises InvalidFile, also for weights of over 2 GB."""
    from ai_edge_litert import schema_py_generated as schema

    check_tflite(path)
    read = tflite_file.read(path)
    _fits(sum(len(b["data"]) or b["size"] for b in read["buffers"]))
    whole = read["whole"]
    model: Any = schema.ModelT.InitFromPackedBuf(whole, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(whole, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            at, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
            if at > 1:
                operator.customOptions = np.frombuffer(whole, np.uint8, size, at)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    return model


def set_metadata_entry(model: Any, name: str, data: bytes) -> None:
    """Gives the model the entry ``name`` of metadata, in place of one that it has."""
    from ai_edge_litert import schema_py_generated as schema

    found = next((m for m in model.metadata or () if m.name == name.encode()), None)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    if found is not None and not _shared(model, found):
        model.buffers[found.buffer] = buffer
        return
    if found is None:
        found = schema.MetadataT()
        found.name = name.encode()
        model.metadata = [*(model.metadata or ()), found]
    found.buffer = len(model.buffers)
    model.buffers.append(buffer)


def save(model: Any, target: Path) -> None:
    """Packs the ModelT of ``unpacked`` to ``target``, which may be the file it came from; nothing follows the model."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    held = sum(0 if b.data is None else len(b.data) for b in model.buffers)
    _fits(held)
    made = schema.ModelT(**vars(model))
    made.buffers = [_Buffer(b.data) for b in model.buffers]
    builder = flatbuffers.Builder(held + ALIGNED * len(made.buffers) + ROOM)
    builder.Finish(made.Pack(builder), tflite_file.IDENTIFIER)
    part = target.with_name(f"{target.name}.part")  # the weights may still be read from the target
    part.write_bytes(memoryview(builder.Bytes)[builder.Head() :])
    check_tflite(part)
    tflite_file.read(part)
    os.replace(part, target)


def _shared(model: Any, entry: Any) -> bool:
    """Whether something else uses the entry's buffer too, or it is the empty one."""
    tensors = any(t.buffer == entry.buffer for g in model.subgraphs for t in g.tensors or ())
    return tensors or entry.buffer == 0 or any(m is not entry and m.buffer == entry.buffer for m in model.metadata)


def _fits(held: int) -> None:
    if held > MAX_BYTES:
        raise InvalidFile(
            f"The weights of the TensorFlow Lite file have {held / 1e9:.1f} GB; it can only be written again with at most "
            f"{MAX_BYTES / 1e9:.1f} GB. Make the weights float16 or int8 first."
        )


class _Buffer:
    """Packs a buffer's bytes aligned, which the generated class does not."""

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
