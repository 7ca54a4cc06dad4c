"""A small file whose parts are referred to over and over stands for many: it is turned down before anybody counts them."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import pytest

from lib.errors import InvalidFile
from lib.tflite.flatbuffer import check_tflite


def shared(path: Path, graphs: int, tensors: int) -> None:
    """Every graph is the same one, and every tensor of it."""
    b = flatbuffers.Builder(1 << 16)

    def table(slots: int, **at: int) -> int:
        b.StartObject(slots)
        for slot, offset in at.items():
            b.PrependUOffsetTRelativeSlot(int(slot[1:]), offset, 0)
        return b.EndObject()

    def vector(offset: int, count: int) -> int:
        b.StartVector(4, count, 4)
        for _ in range(count):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()

    name = b.CreateString("t")
    graph = table(5, _0=vector(table(6, _3=name), tensors), _4=name)
    buffers, graphs_at = vector(table(1), 1), vector(graph, graphs)
    codes = vector(table(4), 1)
    b.Finish(table(8, _1=codes, _2=graphs_at, _3=name, _4=buffers), b"TFL3")
    path.write_bytes(bytes(b.Output()))


def test_a_file_that_stands_for_a_million_tensors(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    shared(path, 2, 3)
    check_tflite(path)
    shared(path, 1000, 1000)
    assert path.stat().st_size < 10_000
    with pytest.raises(InvalidFile, match="more than 2,000,000 parts"):
        check_tflite(path)
