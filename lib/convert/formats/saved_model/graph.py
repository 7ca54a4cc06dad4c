"""Reads the graphs of a SavedModel and finds which nodes can run. Decodes protobuf itself, without TensorFlow.

Field numbers are from tensorflow/core/protobuf (saved_model, meta_graph, saver, saved_object_graph) and framework
(graph, node_def, function, attr_value). Which nodes run follows TensorFlow 2.21 (saved_model/load.py and
load_v1_in_v2.py).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lib.errors import InvalidFile

GRAPH = "saved_model.pb"
MAX_NODES, MAX_NAME, MAX_DEPTH = 2_000_000, 4096, 12
DAMAGED = f"{GRAPH} is damaged or cut off. Upload the whole SavedModel again."


class Reader:
    """Reads fields of protobuf messages in a buffer; a message is a (start, end) range. Raises InvalidFile."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data, self._steps = data, 0

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields (field number, wire type, start, end) of each field's content."""
        at = start
        while at < end:
            self._steps += 1
            if self._steps > 50 * MAX_NODES:
                raise InvalidFile(f"{GRAPH} has more parts than are allowed.")
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
            elif wire == 3:  # a group: protobuf skips unknown ones, so they must not stop this reader
                at = self._group_end(at, end, number)
            else:
                raise InvalidFile(DAMAGED)
            if at > end or number == 0:
                raise InvalidFile(DAMAGED)
            yield number, wire, begin, at

    def _group_end(self, at: int, end: int, number: int) -> int:
        """Returns the end of the group ``number``, including its end tag. Iterative, since groups nest."""
        open_groups = [number]
        while open_groups:
            self._steps += 1
            tag, at = self._number(at, end)
            wire = tag & 7
            if wire == 3:
                open_groups.append(tag >> 3)
            elif wire == 4:
                if tag >> 3 != open_groups.pop():
                    raise InvalidFile(DAMAGED)
            elif wire == 0:
                _, at = self._number(at, end)
            elif wire == 2:
                size, at = self._number(at, end)
                at += size
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise InvalidFile(DAMAGED)
            if at > end or tag >> 3 == 0 or self._steps > 50 * MAX_NODES:
                raise InvalidFile(DAMAGED)
        return at

    def _number(self, at: int, end: int) -> tuple[int, int]:
        """Decodes a varint; returns (value, position after it)."""
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
        """Yields (start, end) of each length-delimited field ``number``."""
        for field, wire, begin, stop in self.fields(start, end):
            if field == number and wire == 2:
                yield begin, stop
            elif field == number:
                raise InvalidFile(DAMAGED)

    def text(self, start: int, end: int) -> str:
        if end - start > MAX_NAME:
            raise InvalidFile(f"A name in {GRAPH} has {end - start:,} characters; at most {MAX_NAME:,} are read.")
        return bytes(self._data[start:end]).decode(errors="replace")

    def texts(self, start: int, end: int, number: int) -> list[str]:
        return [self.text(*place) for place in self.messages(start, end, number)]

    def one(self, start: int, end: int, number: int) -> str:
        """Returns the string field ``number``; the last one wins, as in protobuf. "" if absent."""
        return (self.texts(start, end, number) or [""])[-1]


@dataclass(slots=True)
class Node:
    """A NodeDef, with the names of the nodes that feed it."""

    name: str
    op: str
    inputs: list[str]
    calls: list[str]  # its operator, which may be a function, and the functions named in its attributes


class Graph:
    """A MetaGraphDef: ``nodes`` by name, and the nodes of each of its ``functions`` by function name."""

    def __init__(self, reader: Reader, start: int, end: int) -> None:
        self._reader, self._place = reader, (start, end)
        self.nodes: dict[str, Node] = {}
        self.functions: dict[str, list[Node]] = {}
        self._swapped: set[str] = set()
        self._arguments: dict[str, str] = {}  # function name -> name of its first argument
        for graph in reader.messages(start, end, 2):
            for node in (self._node(*place) for place in reader.messages(*graph, 1)):
                if node.name in self.nodes:
                    raise InvalidFile(f"Two nodes in {GRAPH} are called {node.name[:80]!r}. Save the model again.")
                self.nodes[node.name] = node
            for library in reader.messages(*graph, 2):
                for function in reader.messages(*library, 1):
                    self._function(*function)
        if sum(map(len, self.functions.values())) + len(self.nodes) > MAX_NODES:
            raise InvalidFile(f"{GRAPH} has over {MAX_NODES:,} nodes.")

    def everything(self) -> Iterator[Node]:
        """Yields all nodes of the graph and its functions."""
        yield from self.nodes.values()
        for nodes in self.functions.values():
            yield from nodes

    def computing(self) -> Iterator[Node]:
        """Yields the nodes that loading or calling the model can run: all but those only the saver reaches.

        The roots are everything named by a signature, a collection (initializers of variables and tables, also in the
        bytes of a VariableDef) or an object; functions that TensorFlow may substitute for another
        (``api_implements``); and functions that no node calls.
        """
        nodes, functions = self._reachable((*self._named(4), *self._named(5)), (*self._named(7), *self._swapped))
        _, saver_functions = self._reachable(self.nodes.keys() - nodes, ())
        _, uncalled = self._reachable((), self.functions.keys() - saver_functions)
        yield from self._inside(nodes, functions | uncalled)

    def restoring(self) -> Iterator[Node]:
        """Yields the nodes that run when the variables of a TensorFlow 1 SavedModel are restored by its saver."""
        savers = list(self._reader.messages(*self._place, 3))
        names = [_plain(name) for place in savers for number in (1, 3) for name in self._reader.texts(*place, number)]
        yield from self._inside(*self._reachable(names, ()))

    def restoring_elsewhere(self) -> Iterator[Node]:
        """Yields RestoreV2 nodes of the saver that may read another file than the checkpoint TensorFlow passes to it.

        A legitimate RestoreV2 is in the graph, or in a function that the graph calls, and its first input is that
        file's name.
        """
        filenames = [n for place in self._reader.messages(*self._place, 3) for n in self._reader.texts(*place, 1)]
        filename = _plain(filenames[-1]) if filenames else ""
        handed = {
            call
            for node in self.nodes.values()
            if node.inputs[:1] == [filename]
            for call in node.calls
            if call in self.functions
        } - {call for node in self.nodes.values() if node.inputs[:1] != [filename] for call in node.calls}
        handed -= {call for nodes in self.functions.values() for node in nodes for call in node.calls}
        allowed = {id(n) for n in self.nodes.values() if n.inputs[:1] == [filename]}
        allowed |= {id(n) for name in handed for n in self.functions[name] if n.inputs[:1] == [self._arguments[name]]}
        for node in self.restoring():
            if node.op == "RestoreV2" and id(node) not in allowed:
                yield node

    def _node(self, start: int, end: int) -> Node:
        reader = self._reader
        op = reader.one(start, end, 2)
        node = Node(reader.one(start, end, 1), op, [_plain(s) for s in reader.texts(start, end, 3)], [op])
        for attribute in reader.messages(start, end, 5):
            for value in reader.messages(*attribute, 2):
                for function in reader.messages(*value, 10):
                    node.calls.append(reader.one(*function, 1))
                for values in reader.messages(*value, 1):
                    node.calls += [reader.one(*function, 1) for function in reader.messages(*values, 9)]
        return node

    def _function(self, start: int, end: int) -> None:
        reader = self._reader
        names = [reader.one(*place, 1) for place in reader.messages(start, end, 1)]
        if len(names) != 1 or names[0] in self.functions:
            raise InvalidFile(f"A function in {GRAPH} has no unique name. Save the model again.")
        self.functions[names[0]] = [self._node(*place) for place in reader.messages(start, end, 3)]
        arguments = (arg for place in reader.messages(start, end, 1) for arg in reader.messages(*place, 2))
        self._arguments[names[0]] = next((reader.one(*arg, 1) for arg in arguments), "")
        if any(reader.one(*attribute, 1).startswith("api_implements") for attribute in reader.messages(start, end, 5)):
            self._swapped.add(names[0])

    def _reachable(self, nodes: Iterable[str], functions: Iterable[str]) -> tuple[set[str], set[str]]:
        """Returns the names of all nodes and functions reachable from these, through inputs and calls."""
        pending_nodes, pending_functions = list(nodes), list(functions)
        seen: set[str] = set()
        called: set[str] = set()
        while pending_nodes:
            if (name := pending_nodes.pop()) in self.nodes and name not in seen:
                seen.add(name)
                pending_nodes += self.nodes[name].inputs
                pending_functions += self.nodes[name].calls
        while pending_functions:
            if (name := pending_functions.pop()) in self.functions and name not in called:
                called.add(name)
                pending_functions += (callee for node in self.functions[name] for callee in node.calls)
        return seen, called

    def _inside(self, nodes: set[str], functions: set[str]) -> Iterator[Node]:
        yield from (self.nodes[name] for name in sorted(nodes))
        for name in sorted(functions):
            yield from self.functions[name]

    def _named(self, number: int) -> Iterator[str]:
        """Yields every string in the fields ``number`` that may be a name, without the collections of savers."""
        for place in self._reader.messages(*self._place, number):
            if number != 4 or self._reader.one(*place, 1) not in ("savers", "saveable_objects"):
                yield from self._texts(*place, MAX_DEPTH)

    def _texts(self, start: int, end: int, depth: int) -> Iterator[str]:
        """Yields the node names that the range and its nested fields, up to ``depth``, may spell."""
        if end - start <= MAX_NAME:
            yield _plain(self._reader.text(start, end))
        if not depth:
            return
        try:
            for _, wire, begin, stop in self._reader.fields(start, end):
                if wire in (2, 3):  # a group is read like a message; its end tag is left over
                    yield from self._texts(begin, stop, depth - 1)
        except InvalidFile:
            if depth == MAX_DEPTH:  # the outermost is certainly a message; inner fields may be plain strings
                raise


def _plain(tensor: str) -> str:
    """Strips ``^name`` and ``name:0`` to the node's name."""
    return tensor.removeprefix("^").split(":", 1)[0]
