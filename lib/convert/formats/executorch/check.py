"""Verifies an ExecuTorch program and reads its methods' inputs and outputs, without running any of it.

The runtime follows offsets and indices unchecked (its verifier is not built into the wheels), so every table, segment
and index is checked first. The data of delegates (XNNPACK …) is opaque and not checked: an uploaded program is
described but never executed.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib.convert.formats.executorch.schema import DTYPES, IDENTIFIER, TABLES, UNIONS
from lib.errors import InvalidFile
from lib.tflite.flatbuffer import AGAIN, DamagedFlatbuffer, Walk

NAME = "model.pte"
HEADER = struct.Struct("<8x4sIQQ")  # after the identifier: "eh00", header length, program size, offset of the segments
MAX_MEMORY = 16 << 30  # bytes that a method may plan for its values
MAX_RANK = 16  # the runtime's limit
NOTHING, TENSOR, STRING = 0, 5, 6  # KernelTypes of a value
SEGMENT = 1  # location of a delegate's data: 0 in the flatbuffer, 1 in a segment


@dataclass(frozen=True, slots=True)
class Tensor:
    """Dtype and shape of an input or output. ``sizes`` are upper bounds if ``bounded``, else exact."""

    dtype: str
    sizes: tuple[int, ...]
    bounded: bool


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a program.

    ``memory``: bytes planned for its values. ``constant``: the string it returns, if it has no instructions.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[str, ...]
    delegates: tuple[str, ...]
    memory: int
    constant: str | None


def check_program(path: Path) -> list[str]:
    """Checks an uploaded program and returns a message about its methods. Raises InvalidFile."""
    methods = read_program(path)
    computing = [m for m in methods if m.operators or m.delegates]
    summaries = [f"{m.name}: {len(m.operators)} operators, delegates: {', '.join(m.delegates) or 'none'}" for m in computing]
    return ["; ".join(summaries)[:300] + "."] if summaries else []


def read_program(path: Path) -> list[Method]:
    """Verifies a program and returns its methods. Raises InvalidFile."""
    size = path.stat().st_size
    if size < HEADER.size:
        raise InvalidFile(f"Not an ExecuTorch program: {size} bytes. {AGAIN}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return list(Program(data, size).methods())
        except DamagedFlatbuffer as why:
            raise InvalidFile(f"The ExecuTorch program is damaged or cut off: {why}. {AGAIN}") from None


class Program(Walk):
    """A program whose structure is verified on construction. Raises DamagedFlatbuffer."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        mark, length, program, self._base = HEADER.unpack(data[: HEADER.size])
        if mark != b"eh00":  # without a header, the flatbuffer is the whole file and there are no segments
            program, self._base = size, 0
        elif length < HEADER.size - 8 or program > size or not program <= self._base <= size:
            raise DamagedFlatbuffer(
                f"its header gives {program} bytes and segments from byte {self._base}; the file has {size}"
            )
        super().__init__(data, program, tables=TABLES, unions=UNIONS)
        self._root = self.whole(IDENTIFIER, "Program")
        self._check_segments(size)

    def methods(self) -> Iterator[Method]:
        """Yields the methods. Raises DamagedFlatbuffer for bad indices, InvalidFile for excessive memory plans."""
        if not (plans := self._list(self._root, 1)):
            raise DamagedFlatbuffer("it has no methods")
        yield from map(self._method, plans)

    def _check_segments(self, size: int) -> None:
        """Raises DamagedFlatbuffer for segments outside the file, and for data outside its segment."""
        extents = [(self._get(s, 0, "<Q"), self._get(s, 1, "<Q")) for s in self._list(self._root, 4)]
        for start, length in extents:
            if self._base + start + length > size:
                raise DamagedFlatbuffer(
                    f"a segment spans bytes {self._base + start} to {self._base + start + length} of {size}"
                )
        constants = self._table_of(self._root, 5)
        for table in [*constants, *self._list(self._root, 6)]:
            offsets = self._vector_of(table, 1, "Q")
            if not offsets or (table in constants and len(offsets) == 1):  # holds no tensor
                continue
            index = self._get(table, 0, "<I")
            if index >= len(extents) or max(offsets) > extents[index][1]:
                raise DamagedFlatbuffer("a tensor's data lie outside their segment")
        if any(self._get(entry, 1, "<I") >= len(extents) for entry in self._list(self._root, 7)):
            raise DamagedFlatbuffer("named data are in a missing segment")
        self._segments, self._inline = len(extents), len(self._list(self._root, 3))

    def _method(self, plan: int) -> Method:
        """Verifies the ExecutionPlan at ``plan`` and returns its description."""
        values = self._list(plan, 2)
        inputs, outputs = self._integers(plan, 3), self._integers(plan, 4)
        operators, delegates = self._list(plan, 6), self._list(plan, 7)
        for delegate in delegates:
            self._check_delegate(delegate)
        value_indices = [*inputs, *outputs]
        instructions = [i for chain in self._list(plan, 5) for i in self._list(chain, 2)]
        for instruction in instructions:
            value_indices += self._check_instruction(instruction, len(operators), len(delegates), len(instructions))
        if any(not 0 <= k < len(values) for k in value_indices):
            raise DamagedFlatbuffer("a method refers to a missing value")
        kinds = [self._get(value, 0, "<B") for value in values]
        if any(kind and not self._table_of(value, 1) for kind, value in zip(kinds, values, strict=True)):
            raise DamagedFlatbuffer("a value of a method is missing")
        tensors = {k: self._tensor(self._table_of(v, 1)[0]) for k, v in enumerate(values) if kinds[k] == TENSOR}
        memory = sum(self._vector_of(plan, 8, "Q"))
        if memory > MAX_MEMORY:
            raise InvalidFile(
                f"A method of the ExecuTorch program plans {memory:,} bytes of memory; at most {MAX_MEMORY:,} are allowed."
            )
        text = self._text(self._table_of(values[outputs[0]], 1)[0], 0) if [kinds[k] for k in outputs] == [STRING] else None
        return Method(
            self._text(plan, 0),
            tuple(tensors[k] for k in inputs if k in tensors),
            tuple(tensors[k] for k in outputs if k in tensors),
            tuple(self._text(entry, 0) for entry in operators),
            tuple(self._text(entry, 0) for entry in delegates),
            memory,
            text if not instructions else None,
        )

    def _check_delegate(self, delegate: int) -> None:
        references = self._table_of(delegate, 1)
        if not references or not self._field(delegate, 0) or not self._field(delegate, 2):
            raise DamagedFlatbuffer("a delegate has no name, no data or no options")
        available = self._segments if self._get(references[0], 0, "<B") == SEGMENT else self._inline
        if self._get(references[0], 1, "<I") >= available:
            raise DamagedFlatbuffer("a delegate's data are missing")

    def _check_instruction(self, instruction: int, operators: int, delegates: int, count: int) -> list[int]:
        """Checks an instruction's indices; returns the indices of the values it uses."""
        if not (arguments := self._table_of(instruction, 1)):
            raise DamagedFlatbuffer("an instruction has no arguments")
        (call,), kind = arguments, self._get(instruction, 0, "<B")
        first, second = self._get(call, 0, "<i"), self._get(call, 1, "<i") if kind in (3, 4) else 0
        if kind in (1, 2):  # KernelCall, DelegateCall
            if not 0 <= first < (operators if kind == 1 else delegates):
                raise DamagedFlatbuffer("an instruction refers to a missing operator or delegate")
            return list(self._integers(call, 1))
        if kind == 4 and not 0 <= second <= count:
            raise DamagedFlatbuffer("a jump leaves its method")
        return [first, second] if kind == 3 else [first]

    def _tensor(self, tensor: int) -> Tensor:
        sizes, scalar_type = self._integers(tensor, 2), self._get(tensor, 0, "<b")
        if len(sizes) > MAX_RANK or any(d < 0 for d in sizes):
            raise DamagedFlatbuffer("a tensor has a negative dimension or too many dimensions")
        if len(self._vector_of(tensor, 3, "B")) != len(sizes):
            raise DamagedFlatbuffer("a tensor's dim order does not match its shape")
        return Tensor(DTYPES.get(scalar_type, f"type {scalar_type}"), sizes, self._get(tensor, 8, "<b") != 0)

    def _table_of(self, table: int, slot: int) -> list[int]:
        """Returns the position of the table in a field as a list; [] if the field is absent."""
        at = self._field(table, slot)
        return [at + self._number(at, "<I")] if at else []

    def _vector_of(self, table: int, slot: int, kind: str) -> tuple[int, ...]:
        """Returns a vector of scalars; ``kind`` is their struct format. () if the field is absent."""
        at = self._field(table, slot)
        if not at:
            return ()
        start = at + self._number(at, "<I")
        count, width = self._number(start, "<I"), struct.calcsize(kind)
        self._steps += count
        if self._steps > self._most:  # checked before allocating
            raise DamagedFlatbuffer(f"it has more than {self._most:,} elements")
        return struct.unpack(f"<{count}{kind}", self._data[start + 4 : start + 4 + count * width])

    def _text(self, table: int, slot: int) -> str:
        return bytes(self._vector_of(table, slot, "B")).decode(errors="replace")
