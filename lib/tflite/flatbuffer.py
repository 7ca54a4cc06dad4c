"""Verifies that a TensorFlow Lite file is a valid flatbuffer: all tables, vectors and strings are inside the file.

The interpreters follow offsets without checks. This module follows the same offsets first, with the tables of
``schema`` (binary format: flatbuffers.dev/internals). It reads the structure but never the weights, and its work is
limited by ``MAX_STEPS``. It does not know what operators mean; only indices between tables are checked.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

from lib.errors import InvalidFile
from lib.tflite.schema import TABLES, UNIONS

MAX_STEPS = 2_000_000  # tables, fields and offsets; MediaPipe's largest model, for faces, takes 47,000
MAX_DEPTH = 16  # nested tables; the schema itself allows 7
METADATA, EXTERNAL_GROUPS, EXTERNAL_BUFFERS = 6, 8, 9  # slots of Model
HEAD = 8  # bytes: the root's offset and the identifier
AGAIN = "Upload the whole file again."


class DamagedFlatbuffer(Exception):
    """Its message continues "The file is damaged: ..."."""


def check_tflite(path: Path) -> None:
    """Verifies the structure of a file.

    Raises InvalidFile if it reaches outside of the file, a field reaches beyond its table, or tables nest too deep.
    """
    size = path.stat().st_size
    if size < 16:
        raise InvalidFile(f"Not a TensorFlow Lite model: {size} bytes. {AGAIN}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            Walk(data, size).model()
        except DamagedFlatbuffer as why:
            raise InvalidFile(f"The TensorFlow Lite file is damaged or cut off: {why}. {AGAIN}") from None


class Walk:
    """Verifies a TensorFlow Lite model or, with other ``tables`` and ``unions``, another flatbuffer.

    Tables may be shared, and are verified once. With ``unpacked`` each reference counts, since generated classes
    unpack a shared table each time: a small file could become billions of objects.
    """

    def __init__(
        self,
        data: mmap.mmap | bytes,
        size: int,
        *,
        tables: Mapping[str, tuple[str, ...]] = TABLES,
        unions: Mapping[str, tuple[str, ...]] = UNIONS,
        most: int = MAX_STEPS,
        unpacked: bool = False,
    ) -> None:
        self._data, self._size, self._steps = data, min(size, 1 << 31), 0
        self._tables, self._unions, self._most, self._unpacked = tables, unions, most, unpacked
        self._file = size  # buffers may be stored after the flatbuffer's 2 GB
        self._seen: set[tuple[int, str]] = set()
        self._layouts: dict[int, tuple[list[int], int]] = {}

    def model(self) -> None:
        """Verifies a TensorFlow Lite model and the indices between its tables."""
        self._indices(self.whole(b"TFL3", "Model"))

    def whole(self, identifier: bytes, kind: str) -> int:
        """Verifies all tables and returns the position of the root."""
        if self._data[4:HEAD] != identifier:
            raise DamagedFlatbuffer(f"the identifier {identifier.decode()} is missing")
        root = self._number(0, "<I")
        self._table(root, kind, 0)
        return root

    def _number(self, at: int, form: str) -> int:
        self._steps += 1
        if self._steps > self._most:
            raise DamagedFlatbuffer(f"it has more than {self._most:,} parts")
        end = at + struct.calcsize(form)
        if at < 0 or end > self._size:
            raise DamagedFlatbuffer(f"an offset points to byte {at} of {self._size}")
        return struct.unpack(form, self._data[at:end])[0]

    def _fields(self, table: int) -> tuple[list[int], int]:
        """Returns the position of each slot's field (0 if absent), and the end of the table."""
        if table in self._layouts:
            self._number(table, "<i")  # counts as a step
            return self._layouts[table]
        if table % 4:
            raise DamagedFlatbuffer(f"the table at byte {table} is not aligned")
        vtable = table - self._number(table, "<i")
        if vtable < HEAD or vtable % 2:
            raise DamagedFlatbuffer(f"the table at byte {table} has its vtable at byte {vtable}")
        length, inline = self._number(vtable, "<H"), self._number(vtable + 2, "<H")
        if length < 4 or length % 2 or vtable + length > self._size or inline < 4 or table + inline > self._size:
            raise DamagedFlatbuffer(f"the vtable at byte {vtable} is invalid")
        slots = struct.unpack(f"<{length // 2 - 2}H", self._data[vtable + 4 : vtable + length])
        if any(slot and not 4 <= slot < inline for slot in slots):
            raise DamagedFlatbuffer(f"a field of the table at byte {table} lies outside it")
        self._layouts[table] = [table + slot if slot else 0 for slot in slots], table + inline
        return self._layouts[table]

    def _table(self, table: int, kind: str, depth: int) -> None:
        if (table, kind) in self._seen and not self._unpacked:
            return
        self._seen.add((table, kind))
        if depth > MAX_DEPTH:
            raise DamagedFlatbuffer(f"its tables nest over {MAX_DEPTH} deep")
        fields, end = self._fields(table)
        chosen = 0
        for field_type, at in zip(self._tables.get(kind, ()), fields, strict=False):  # a newer schema may have more fields
            self._steps += 1
            if field_type.isdigit():
                if at and (at + int(field_type) > end or at % int(field_type)):
                    raise DamagedFlatbuffer(f"a number of the {kind} at byte {table} extends past its end or is not aligned")
                chosen = self._data[at] if at else 0
            elif at and field_type != "?":
                if at + 4 > end or at % 4:
                    raise DamagedFlatbuffer(
                        f"an offset of the {kind} at byte {table} extends past its end or is not aligned"
                    )
                if field_type.startswith("u:"):
                    self._union(at, self._unions[field_type[2:]], chosen, depth)
                else:
                    self._what(at, field_type, depth)

    def _union(self, at: int, names: tuple[str, ...], chosen: int, depth: int) -> None:
        # unknown types are skipped: readers that do not know them do not read them
        if 1 <= chosen <= len(names):
            self._table(at + self._number(at, "<I"), names[chosen - 1], depth + 1)

    def _what(self, at: int, what: str, depth: int) -> None:
        target = at + self._number(at, "<I")
        if what == "s":
            self._vector(target, 1)
            if self._number(target + 4 + self._number(target, "<I"), "<B"):
                raise DamagedFlatbuffer(f"the string at byte {target} is not terminated")
        elif what.startswith("["):
            inside = what[1:-1]
            count = self._vector(target, int(inside) if inside.isdigit() else 4)
            if not inside.isdigit():
                for k in range(count):
                    if inside == "s":
                        self._what(target + 4 + 4 * k, "s", depth + 1)
                    else:
                        place = target + 4 + 4 * k
                        self._table(place + self._number(place, "<I"), inside, depth + 1)
        else:
            self._table(target, what, depth + 1)

    def _vector(self, at: int, width: int) -> int:
        if at % 4 or (width == 8 and (at + 4) % 8):
            raise DamagedFlatbuffer(f"the vector at byte {at} is not aligned")
        count = self._number(at, "<I")
        if at + 4 + count * width > self._size:
            raise DamagedFlatbuffer(f"the vector at byte {at} declares {count} entries, more than follow")
        return count

    # Indices that interpreters look up without checks.

    def _list(self, table: int, slot: int) -> list[int]:
        """Returns the positions of the tables in a vector."""
        at = self._field(table, slot)
        if not at:
            return []
        start = at + self._number(at, "<I")
        places = [start + 4 + 4 * k for k in range(self._number(start, "<I"))]
        return [place + self._number(place, "<I") for place in places]

    def _field(self, table: int, slot: int) -> int:
        fields, _ = self._fields(table)
        return fields[slot] if slot < len(fields) else 0

    def _get(self, table: int, slot: int, form: str) -> int:
        at = self._field(table, slot)
        return self._number(at, form) if at else 0

    def _integers(self, table: int, slot: int) -> tuple[int, ...]:
        at = self._field(table, slot)
        if not at:
            return ()
        start = at + self._number(at, "<I")
        count = self._number(start, "<I")
        self._steps += count
        return struct.unpack(f"<{count}i", self._data[start + 4 : start + 4 + 4 * count])

    def _indices(self, model: int) -> None:
        codes, graphs, buffers = self._list(model, 1), self._list(model, 2), self._list(model, 4)
        if self._list(model, EXTERNAL_GROUPS) or self._list(model, EXTERNAL_BUFFERS):
            raise InvalidFile(
                "The TensorFlow Lite model stores weights in external files, which the interpreter would open. "
                "Save it again with its weights inside."
            )
        if not graphs:
            raise DamagedFlatbuffer("there is no graph in it")
        for buffer in buffers:
            start, length = self._get(buffer, 1, "<Q"), self._get(buffer, 2, "<Q")
            if start + length > self._file:
                raise DamagedFlatbuffer(f"a buffer is bytes {start} to {start + length} of {self._file}")
        for entry in self._list(model, METADATA):  # the interpreter looks entries up by name without checks
            if not self._field(entry, 0) or self._get(entry, 1, "<I") >= len(buffers):
                raise DamagedFlatbuffer("an entry of metadata has no name or no buffer")
        for graph in graphs:
            tensors = self._list(graph, 0)
            for tensor in tensors:
                if self._get(tensor, 2, "<I") >= max(1, len(buffers)):
                    raise DamagedFlatbuffer("a tensor names a buffer that does not exist")
                if any(d < 0 for d in self._integers(tensor, 0)):
                    raise DamagedFlatbuffer("a tensor has a negative dimension")
            names = [*self._integers(graph, 1), *self._integers(graph, 2)]
            if any(not 0 <= k < len(tensors) for k in names):
                raise DamagedFlatbuffer("a graph's inputs or outputs name a tensor that does not exist")
            for operator in self._list(graph, 3):
                if self._get(operator, 0, "<I") >= len(codes):
                    raise DamagedFlatbuffer("an operator has a code that does not exist")
                used = [*self._integers(operator, 1), *self._integers(operator, 2), *self._integers(operator, 8)]
                if any(not -1 <= k < len(tensors) for k in used):
                    raise DamagedFlatbuffer("an operator names a tensor that does not exist")
