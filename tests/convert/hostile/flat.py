"""TensorFlow Lite: cut off, and offsets that lead out of the file."""

from __future__ import annotations

import struct

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from tests.convert.hostile import hostile
from tests.convert.hostile.valid import tflite

SIZE = 500  # more than the small model has
for end in [*range(8, 64, 8), *range(64, SIZE, 20)]:
    if end < len(tflite()):
        hostile("", f"tflite cut to {end} bytes")(lambda end=end: tflite()[:end])


def put(at: int, form: str, value: int) -> bytes:
    data = bytearray(tflite())
    struct.pack_into(form, data, at, value)
    return bytes(data)


def root() -> int:
    return struct.unpack_from("<I", tflite())[0]


def vtable() -> int:
    return root() - struct.unpack_from("<i", tflite(), root())[0]


def with_external_buffers() -> bytes:
    model = schema.ModelT.InitFromPackedBuf(tflite(), 0)
    model.externalBufferGroups = [schema.ExternalBufferGroupT()]
    model.externalBufferGroups[0].name = "/etc/passwd"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


hostile("in external files", "tflite: weights in another file")(with_external_buffers)
hostile("damaged", "tflite: root behind the end")(lambda: put(0, "<I", 0x7FFFFFF0))
hostile("damaged", "tflite: root of 4 GB")(lambda: put(0, "<I", 0xFFFFFFFC))
hostile("damaged", "tflite: layout far away")(lambda: put(root(), "<i", -0x7FFFFFF0))
hostile("damaged", "tflite: layout before the file")(lambda: put(root(), "<i", 0x7FFFFFF0))
hostile("damaged", "tflite: layout of 65,534 bytes")(lambda: put(vtable(), "<H", 0xFFFE))
hostile("damaged", "tflite: table of 65,535 bytes")(lambda: put(vtable() + 2, "<H", 0xFFFF))
hostile("damaged", "tflite: field outside of its table")(lambda: put(vtable() + 6, "<H", 0xFF00))


def graphs() -> int:
    """Where the vector of graphs is."""
    place = root() + struct.unpack_from("<H", tflite(), vtable() + 4 + 2 * 2)[0]
    return place + struct.unpack_from("<I", tflite(), place)[0]


hostile("entries, more than follow", "tflite: 4 billion graphs")(lambda: put(graphs(), "<I", 0xFFFFFFFF))
hostile("no graph", "tflite: no graphs")(lambda: put(graphs(), "<I", 0))
hostile("damaged", "tflite: a graph behind the end")(lambda: put(graphs() + 4, "<I", 0x00FFFFFC))
hostile("names a tensor that does not exist", "tflite: inputs that are not there")(
    lambda: tflite().replace(struct.pack("<Iii", 2, 0, 1), struct.pack("<Iii", 2, 0, 99))
)
hostile("names a tensor that does not exist", "tflite: negative index")(
    lambda: tflite().replace(struct.pack("<Iii", 2, 0, 1), struct.pack("<Iii", 2, 0, -7))
)
hostile("negative dimension", "tflite: a negative dimension")(
    lambda: tflite().replace(struct.pack("<Iii", 2, 1, 4), struct.pack("<Iii", 2, 1, -4))
)
