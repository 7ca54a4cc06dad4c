"""Checks TensorFlow SavedModels: unpacks an uploaded zip, and checks each artifact before TensorFlow loads it.

A SavedModel is a program. Every operator in it must be on the allow-list of ``allowed_operators`` or a function that
the model defines; operators of the saver may only be reachable by saving or restoring. A model that passes must still
run in a child process with resource limits.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable
from pathlib import Path

from lib.archives import is_litter, opened
from lib.convert.core.archives import root_of
from lib.convert.formats.saved_model.allowed_operators import ALLOWED, RESTORING, SAVING, WHY
from lib.convert.formats.saved_model.graph import GRAPH, Graph, Node, Reader
from lib.errors import InvalidFile

FOLDER = "saved_model"
MEMBER = re.compile(
    r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables/variables\.index"
    r"|variables/variables\.data-[0-9]{5}-of-[0-9]{5}|assets(\.extra)?/[^/]{1,100}"
)
LEFT_OUT = ("keras_metadata.pb", "assets.extra/")
MAX_BYTES = 2 << 30  # protobuf's limit for a message


def is_saved_model(names: set[str], root: str) -> bool:
    """Returns whether a zip with these members is a SavedModel. Raises InvalidFile for one in text form (.pbtxt)."""
    if f"{root}{GRAPH}" not in names and f"{root}{GRAPH}txt" in names:
        raise InvalidFile("This SavedModel is in text format (.pbtxt); save it again in binary format.")
    return f"{root}{GRAPH}" in names


def unpack(path: Path, folder: Path) -> list[str]:
    """Unpacks the zip ``path`` into ``folder`` and checks it; returns no messages. Raises InvalidFile."""
    with opened(path) as archive:
        root = root_of(archive)
        for name in archive.members:
            if is_litter(name):
                continue
            member = name.removeprefix(root)
            if not MEMBER.fullmatch(member):
                raise InvalidFile(
                    f"The SavedModel contains {member[:80]!r}; allowed: {GRAPH}, variables/, assets/ and fingerprint.pb."
                )
            if not member.startswith(LEFT_OUT):
                target = folder / member
                target.parent.mkdir(parents=True, exist_ok=True)
                archive.write(name, target)
    check_graph(folder / GRAPH)
    return []


def checked(folder: Path) -> Path:
    """Checks the SavedModel of an artifact and returns its folder. Raises InvalidFile."""
    root = folder / FOLDER
    if any(path.is_symlink() for path in (root, *root.rglob("*"))):
        raise InvalidFile("The SavedModel has links in it. Upload the files themselves.")
    if not (root / GRAPH).is_file():
        raise InvalidFile(f"There is no {GRAPH} in this artifact.")
    check_graph(root / GRAPH)
    return root


def check_graph(path: Path) -> None:
    """Checks ``saved_model.pb``. Raises InvalidFile, naming the refused operator."""
    size = path.stat().st_size
    if not 0 < size < MAX_BYTES:
        raise InvalidFile(f"{GRAPH} {'has over 2 GB' if size else 'is empty'}. Upload the whole SavedModel again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = Reader(data)
        graphs = list(reader.messages(0, len(data), 2))
        if not graphs:
            raise InvalidFile(f"{GRAPH} contains no graph. Upload the whole SavedModel again.")
        for start, end in graphs:
            _check(Graph(reader, start, end))


def _check(graph: Graph) -> None:
    """Raises InvalidFile for operators that are not allowed, and for saver operators that run outside saving."""
    shadowed = sorted((ALLOWED | SAVING | WHY.keys()) & graph.functions.keys())
    if shadowed:
        raise InvalidFile(f"A function in {GRAPH} is called {shadowed[0]!r}, the name of an operator. Save the model again.")
    for node in graph.everything():
        if node.op in ALLOWED or node.op in SAVING or node.op in graph.functions:
            continue
        reason = f" ({WHY[node.op]})" if node.op in WHY else ""
        raise InvalidFile(
            f"The SavedModel uses the operator {node.op[:80]!r}{reason}, which is not allowed: only arithmetic, variables "
            "and control flow are loaded from an upload. Save the model without it."
        )
    _no_files(graph.computing(), SAVING, "when it computes")
    _no_files(graph.restoring(), SAVING - RESTORING, "when it is loaded")
    _no_files(graph.restoring_elsewhere(), RESTORING, "other than its own variables when it is loaded")


def _no_files(nodes: Iterable[Node], refused: frozenset[str], when: str) -> None:
    for node in nodes:
        if node.op in refused:
            raise InvalidFile(
                f"The SavedModel reads or writes files {when} ({node.op} in {node.name[:80]!r}), which is not allowed: only "
                "its saver may. Save the model without it."
            )
