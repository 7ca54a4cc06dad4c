"""Parses the structure of a TensorFlow Lite file and verifies every offset, which the interpreter does not do.

Driven by a table of the schema's tables. Operator options are not parsed, except for single numbers. Independent of
what operators compute: damaged options may still crash the interpreter, so run it in a child process.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile

NAME, IDENTIFIER = "model.tflite", b"TFL3"
# The schema's fields in order. A number is a scalar of that many bytes; "options" is a table that is only
# bounds-checked; a list with one entry is a vector of it. Numbers in vectors have numpy's type codes.
SCHEMA: dict[str, dict[str, Any]] = {
    "Model": {
        "version": 4,
        "operator_codes": ["OperatorCode"],
        "subgraphs": ["SubGraph"],
        "description": "text",
        "buffers": ["Buffer"],
        "metadata_buffer": ["i4"],
        "metadata": ["Metadata"],
        "signature_defs": ["SignatureDef"],
        "external_buffer_groups": ["options"],
        "external_buffers": ["options"],
    },
    "OperatorCode": {"old_code": 1, "custom_code": "text", "version": 4, "code": 4},
    "SubGraph": {
        "tensors": ["Tensor"],
        "inputs": ["i4"],
        "outputs": ["i4"],
        "operators": ["Operator"],
        "name": "text",
        "debug": 4,
    },
    "Tensor": {
        "shape": ["i4"],
        "type": 1,
        "buffer": 4,
        "name": "text",
        "quantization": "Quantization",
        "is_variable": 1,
        "sparsity": "options",
        "shape_signature": ["i4"],
        "has_rank": 1,
        "variant_tensors": ["options"],
        "external_buffer": 4,
    },
    "Quantization": {
        "min": ["f4"],
        "max": ["f4"],
        "scale": ["f4"],
        "zero_point": ["i8"],
        "details_type": 1,
        "details": "options",
        "dimension": 4,
    },
    "Operator": {
        "opcode": 4,
        "inputs": ["i4"],
        "outputs": ["i4"],
        "options_type": 1,
        "options": "options",
        "custom_options": ["u1"],
        "custom_format": 1,
        "mutating": ["u1"],
        "intermediates": ["i4"],
        "large_offset": 8,
        "large_size": 8,
        "options2_type": 1,
        "options2": "options",
        "debug": 4,
    },
    "Buffer": {"data": ["u1"], "offset": 8, "size": 8},
    "Metadata": {"name": "text", "buffer": 4},
    "SignatureDef": {"inputs": ["TensorMap"], "outputs": ["TensorMap"], "key": "text", "unused": "text", "subgraph": 4},
    "TensorMap": {"name": "text", "tensor": 4},
}
# TensorType -> numpy dtype, without types that numpy lacks or whose values are not a plain array
DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    11: "complex128",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}
OLD_CODES = 127  # codes from here on are only stored in the newer field; the older one then has this value
MAX_DIMENSIONS = 8


class Damaged(Exception):
    """Its message becomes part of the InvalidFile raised by ``read``."""


@dataclass(slots=True)
class Options:
    """An operator's options table, of which only single numbers are read."""

    file: _Reader
    position: int

    def int32(self, number: int, default: int = 0) -> int:
        """Returns the int32 field ``number``, or ``default`` if it is absent."""
        place = self.file.field(self.position, number, 4)
        return default if place is None else self.file.number("<i", place)


@dataclass(slots=True)
class _Reader:
    data: mmap.mmap
    done: dict[tuple[str, int], Any] = field(default_factory=dict)  # tables may be shared: each is parsed once

    def number(self, kind: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(kind) > len(self.data):
            raise Damaged("an offset points past its end")
        return struct.unpack_from(kind, self.data, at)[0]

    def field(self, table: int, number: int, size: int) -> int | None:
        """Returns the position of a table's field, None if it is absent (has its default)."""
        shape = table - self.number("<i", table)
        length, inline = self.number("<H", shape), self.number("<H", shape + 2)
        if length < 4 or length % 2 or shape + length > len(self.data) or inline < 4 or table + inline > len(self.data):
            raise Damaged("a table is malformed")
        if 4 + 2 * number + 2 > length:
            return None
        offset = self.number("<H", shape + 4 + 2 * number)
        if offset and not 4 <= offset <= inline - size:
            raise Damaged("a field lies outside its table")
        return table + offset if offset else None

    def follow(self, at: int) -> int:
        """Returns the position that the offset at ``at`` refers to."""
        return at + self.number("<I", at)

    def vector(self, at: int, size: int) -> tuple[int, int]:
        """Returns the start and length of the vector that ``at`` refers to."""
        start = self.follow(at)
        length = self.number("<I", start)
        if start + 4 + length * size > len(self.data):
            raise Damaged("a list is longer than the file")
        return start + 4, length

    def table(self, kind: str, position: int) -> Any:
        if (kind, position) in self.done:
            return self.done[kind, position]
        if kind == "options":
            self.field(position, 0, 1)  # checks its bounds
            parsed: Any = Options(self, position)
        else:
            parsed = {}
            for number, (name, field_type) in enumerate(SCHEMA[kind].items()):
                place = self.field(position, number, field_type if isinstance(field_type, int) else 4)
                parsed[name] = self.empty(field_type) if place is None else self.value(field_type, place)
        self.done[kind, position] = parsed
        return parsed

    def value(self, wanted: Any, place: int) -> Any:
        if isinstance(wanted, int):
            return self.number({1: "<B", 4: "<I", 8: "<Q"}[wanted], place)
        if wanted == "text":
            start, length = self.vector(place, 1)
            return self.data[start : start + length].decode("utf-8", "replace")
        if isinstance(wanted, str):
            return self.table(wanted, self.follow(place))
        (inner,) = wanted
        if inner in SCHEMA or inner == "options":
            start, length = self.vector(place, 4)
            return [self.table(inner, self.follow(start + 4 * k)) for k in range(length)]
        kind = np.dtype(f"<{inner}")
        start, length = self.vector(place, kind.itemsize)
        return np.frombuffer(self.data, kind, length, start)

    @staticmethod
    def empty(wanted: Any) -> Any:
        if isinstance(wanted, list):
            return [] if wanted[0] in SCHEMA or wanted[0] == "options" else np.empty(0, f"<{wanted[0]}")
        return {"text": "", "options": None}.get(wanted) if isinstance(wanted, str) else 0


def read(path: Path) -> dict[str, Any]:
    """Returns the file as nested dicts, as in ``SCHEMA``, with all indices in range. Raises InvalidFile."""
    if path.stat().st_size < 16:
        raise InvalidFile("Not a TensorFlow Lite file: it is too short.")
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if data[4:8] != IDENTIFIER:
        raise InvalidFile("Not a TensorFlow Lite file: the identifier TFL3 is missing.")
    try:
        reader = _Reader(data)
        model = reader.table("Model", reader.follow(0))
        _check(model, len(data))
    except Damaged as error:
        raise InvalidFile(f"The TensorFlow Lite file is damaged: {error}. Upload it again.") from None
    return model | {"whole": data}


def code(model: dict[str, Any], operator: dict[str, Any]) -> int:
    """Returns the BuiltinOperator of an operator."""
    entry = model["operator_codes"][operator["opcode"]]
    return max(entry["old_code"], entry["code"])  # as in the runtime: writers fill one field or both


def stored(model: dict[str, Any], tensor: dict[str, Any]) -> np.ndarray | None:
    """Returns the values stored for a tensor, None if there are none or they are not a plain array."""
    buffer = model["buffers"][tensor["buffer"]]
    data = buffer["data"]
    if buffer["offset"] > 1:  # after the flatbuffer, in the same file
        data = np.frombuffer(model["whole"], np.uint8, buffer["size"], buffer["offset"])
    if not len(data) or tensor["type"] not in DTYPES or tensor["sparsity"] is not None:
        return None
    return data.view(DTYPES[tensor["type"]]).reshape(tensor["shape"])


def _check(model: dict[str, Any], size: int) -> None:
    if not model["subgraphs"] or not model["buffers"]:
        raise Damaged("it holds no graph")
    if model["external_buffers"]:
        raise InvalidFile("The weights of this TensorFlow Lite file are in other files, which is not supported.")
    for buffer in model["buffers"]:
        if buffer["offset"] > 1 and buffer["offset"] + buffer["size"] > size:
            raise Damaged("its weights are cut off")
    for entry in model["metadata"]:  # the interpreter looks entries up by name without checks
        if not entry["name"] or entry["buffer"] >= len(model["buffers"]):
            raise Damaged("an entry of metadata has no name or no buffer")
    for graph in model["subgraphs"]:
        count = len(graph["tensors"])
        _within("a graph's input or output", np.concatenate([graph["inputs"], graph["outputs"]]), 0, count)
        for tensor in graph["tensors"]:
            _check_tensor(model, tensor)
        for operator in graph["operators"]:
            if operator["opcode"] >= len(model["operator_codes"]):
                raise Damaged("an operator has no code")
            if operator["large_offset"] > 1 and operator["large_offset"] + operator["large_size"] > size:
                raise Damaged("options of an operator are cut off")
            _within("an operator's input", operator["inputs"], -1, count)
            _within("an operator's output", np.concatenate([operator["outputs"], operator["intermediates"]]), -1, count)
    for signature in model["signature_defs"]:
        if signature["subgraph"] >= len(model["subgraphs"]):
            raise Damaged("a signature has no graph")
        count = len(model["subgraphs"][signature["subgraph"]]["tensors"])
        tensors = [m["tensor"] for m in (*signature["inputs"], *signature["outputs"])]
        _within("a tensor of a signature", np.array(tensors, np.int64), 0, count)


def _check_tensor(model: dict[str, Any], tensor: dict[str, Any]) -> None:
    shape = tensor["shape"]
    if len(shape) > MAX_DIMENSIONS or (shape < 0).any():
        raise Damaged("a tensor has an impossible shape")
    if len(tensor["shape_signature"]) not in (0, len(shape)):
        raise Damaged("a tensor has two shapes of different length")
    if tensor["buffer"] >= len(model["buffers"]):
        raise Damaged("a tensor has no buffer")
    buffer = model["buffers"][tensor["buffer"]]
    actual = len(buffer["data"]) or (buffer["size"] if buffer["offset"] > 1 else 0)
    if actual and tensor["type"] in DTYPES and tensor["sparsity"] is None:
        expected = int(np.prod(shape.astype(object))) * np.dtype(DTYPES[tensor["type"]]).itemsize
        if actual != expected:
            raise Damaged(f"a tensor of {expected} bytes has {actual} bytes of weights")


def _within(what: str, indices: np.ndarray, low: int, high: int) -> None:
    if ((indices < low) | (indices >= high)).any():
        raise Damaged(f"{what} does not exist")
