"""Checks a zip of a TensorFlow SavedModel and unpacks it. Reads the protobuf's encoding itself: no TensorFlow here.

Field numbers from tensorflow/core/protobuf: saved_model, meta_graph, saved_object_graph; framework: graph, node_def,
function, attr_value. Every operator anywhere must be on the list of ``saved_model_ops``, or be a function that the
model defines. The saver's own operators may stand only where neither a signature, an initializer nor a function of
the object graph leads: what remains is run by nobody who loads the model to compute with it.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lib.archives import is_litter, opened
from lib.convert.core.archives import root_of
from lib.convert.formats.saved_model.allowed_operators import ALLOWED, SAVING, WHY
from lib.errors import InvalidFile

GRAPH = "saved_model.pb"
MEMBER = re.compile(
    r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables/variables\.index"
    r"|variables/variables\.data-[0-9]{5}-of-[0-9]{5}|assets(\.extra)?/[^/]{1,100}"
)
LEFT_OUT = ("keras_metadata.pb", "assets.extra/")
MOST_NODES, MOST_NAME = 2_000_000, 4096
DAMAGED = "saved_model.pb is damaged or cut off. Upload the whole SavedModel again."


def is_saved_model(names: set[str], root: str) -> bool:
    """Raises InvalidFile for one in text form."""
    if f"{root}{GRAPH}" not in names and f"{root}{GRAPH}txt" in names:
        raise InvalidFile("This SavedModel is in text form (.pbtxt); save it in binary form again.")
    return f"{root}{GRAPH}" in names


def take(path: Path, folder: Path) -> list[str]:
    """Unpacks into ``folder``. Raises InvalidFile."""
    with opened(path) as archive:
        root = root_of(archive)
        for name in archive.members:
            if is_litter(name):
                continue
            inner = name.removeprefix(root)
            if not MEMBER.fullmatch(inner):
                raise InvalidFile(
                    f"The SavedModel has a member {inner[:80]!r}; allowed: {GRAPH}, variables/, assets/ and fingerprint.pb."
                )
            if not inner.startswith(LEFT_OUT):
                target = folder / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                archive.write(name, target)
    check_graph(folder / GRAPH)
    return []


def check_graph(path: Path) -> None:
    if path.stat().st_size == 0:
        raise InvalidFile(f"{GRAPH} is empty. Upload the whole SavedModel again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = Reader(data)
        graphs = list(reader.messages(0, len(data), 2))
        if not graphs:
            raise InvalidFile(f"{GRAPH} has no graph in it. Upload the whole SavedModel again.")
        for start, end in graphs:
            _Graph(reader, start, end).check()


class Reader:
    """Fields of protobuf messages in a buffer; a message is (start, end)."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data, self._steps = data, 0

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Number, wire type, start and end of each field's content."""
        at = start
        while at < end:
            self._steps += 1
            if self._steps > 50 * MOST_NODES:
                raise InvalidFile(f"{GRAPH} has more parts than are read here.")
            tag, at = self._number(at, end)
            number, wire = tag >> 3, tag & 7
            begin = at
            if wire == 0:
                _, at = self._number(at, end)
            elif wire == 2:
                size, begin = self._number(at, end)
                at = begin + size
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise InvalidFile(DAMAGED)
            if at > end or number == 0:
                raise InvalidFile(DAMAGED)
            yield number, wire, begin, at

    def _number(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                break
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise InvalidFile(DAMAGED)

    def messages(self, start: int, end: int, number: int) -> Iterator[tuple[int, int]]:
        for found, wire, begin, stop in self.fields(start, end):
            if found == number and wire == 2:
                yield begin, stop
            elif found == number:
                raise InvalidFile(DAMAGED)

    def text(self, start: int, end: int) -> str:
        if end - start > MOST_NAME:
            raise InvalidFile(f"A name in {GRAPH} has {end - start:,} characters; at most {MOST_NAME:,} are read.")
        return bytes(self._data[start:end]).decode(errors="replace")

    def texts(self, start: int, end: int, number: int) -> list[str]:
        return [self.text(*place) for place in self.messages(start, end, number)]

    def one(self, start: int, end: int, number: int) -> str:
        """The last one counts, as protobuf has it."""
        return (self.texts(start, end, number) or [""])[-1]


@dataclass(slots=True)
class Node:
    name: str
    op: str
    inputs: list[str]
    functions: list[str] = field(default_factory=list)  # that its attributes name


class _Graph:
    """One MetaGraphDef."""

    def __init__(self, reader: Reader, start: int, end: int) -> None:
        self._reader, self._place = reader, (start, end)
        self._nodes: list[Node] = []
        self._functions: dict[str, list[Node]] = {}
        for graph in reader.messages(start, end, 2):
            self._nodes += [self._node(*place) for place in reader.messages(*graph, 1)]
            for library in reader.messages(*graph, 2):
                for function in reader.messages(*library, 1):
                    names = [reader.one(*place, 1) for place in reader.messages(*function, 1)]
                    nodes = [self._node(*place) for place in reader.messages(*function, 3)]
                    if len(names) != 1 or names[0] in self._functions:
                        raise InvalidFile(f"A function in {GRAPH} has no name of its own. Save the model again.")
                    self._functions[names[0]] = nodes
        if sum(map(len, self._functions.values())) + len(self._nodes) > MOST_NODES:
            raise InvalidFile(f"{GRAPH} has over {MOST_NODES:,} nodes.")

    def _node(self, start: int, end: int) -> Node:
        reader = self._reader
        node = Node(reader.one(start, end, 1), reader.one(start, end, 2), reader.texts(start, end, 3))
        for attribute in reader.messages(start, end, 5):
            for value in reader.messages(*attribute, 2):
                for function in reader.messages(*value, 10):
                    node.functions.append(reader.one(*function, 1))
                for values in reader.messages(*value, 1):
                    node.functions += [reader.one(*function, 1) for function in reader.messages(*values, 9)]
        return node

    def check(self) -> None:
        shadowed = sorted((ALLOWED | SAVING | WHY.keys()) & self._functions.keys())
        if shadowed:
            raise InvalidFile(f"A function in {GRAPH} is called {shadowed[0]!r}, as an operator is. Save the model again.")
        for node in self._all():
            if node.op in ALLOWED or node.op in SAVING or node.op in self._functions:
                continue
            why = f" {WHY[node.op]}," if node.op in WHY else ""
            raise InvalidFile(
                f"The SavedModel uses the operator {node.op[:80]!r},{why} which is not allowed: only arithmetic, variables "
                "and control flow are loaded from an upload. Save the model without it."
            )
        for node in self._reached():
            if node.op in SAVING:
                raise InvalidFile(
                    f"The SavedModel reads or writes files when it computes ({node.op} in {node.name[:80]!r}), which is not "
                    "allowed: only its saver may. Save the model without it."
                )

    def _all(self) -> Iterator[Node]:
        yield from self._nodes
        for nodes in self._functions.values():
            yield from nodes

    def _reached(self) -> Iterator[Node]:
        """Every node that loading or calling the model can run."""
        by_name = {node.name: node for node in self._nodes}
        todo = [name for name in self._starts() if name in by_name]
        seen: set[str] = set()
        functions: list[str] = [name for name in self._object_functions() if name in self._functions]
        while todo:
            name = todo.pop()
            if name in seen or name not in by_name:
                continue
            seen.add(name)
            yield by_name[name]
            todo += [_plain(given) for given in by_name[name].inputs]
            functions += [by_name[name].op, *by_name[name].functions]
        called: set[str] = set()
        while functions:
            name = functions.pop()
            if name in called or name not in self._functions:
                continue
            called.add(name)
            for node in self._functions[name]:
                yield node
                functions += [node.op, *node.functions]

    def _starts(self) -> Iterator[str]:
        reader, place = self._reader, self._place
        for entry in reader.messages(*place, 5):  # signatures, the initializer's among them
            for signature in reader.messages(*entry, 2):
                for side in (1, 2):
                    for value in reader.messages(*signature, side):
                        for info in reader.messages(*value, 2):
                            yield _plain(reader.one(*info, 1))
                            for sparse in reader.messages(*info, 4):
                                yield from (_plain(reader.one(*sparse, k)) for k in (1, 2, 3))
        for entry in reader.messages(*place, 4):  # collections of TensorFlow 1: main_op, table_initializer …
            name = reader.one(*entry, 1)
            for value in reader.messages(*entry, 2):
                for nodes in reader.messages(*value, 1):
                    if name not in ("savers", "saveable_objects"):
                        yield from map(_plain, reader.texts(*nodes, 1))

    def _object_functions(self) -> Iterator[str]:
        for graph in self._reader.messages(*self._place, 7):
            for entry in self._reader.messages(*graph, 2):
                yield self._reader.one(*entry, 1)


def _plain(tensor: str) -> str:
    """The node of ``^name``, ``name:0``."""
    return tensor.removeprefix("^").split(":", 1)[0]
