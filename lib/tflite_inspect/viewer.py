"""The file that a graph viewer is given: the model itself, or one without its weights where those are big."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

NAME = "graph.tflite"
WHOLE = 32 << 20  # bytes


def write(path: Path, folder: Path) -> None:
    """``graph.tflite``, of a verified file."""
    if path.stat().st_size <= WHOLE:
        shutil.copyfile(path, folder / NAME)
        return
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for buffer in model.buffers:
        buffer.data, buffer.offset, buffer.size = None, 0, 0
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / NAME).write_bytes(builder.Output())
