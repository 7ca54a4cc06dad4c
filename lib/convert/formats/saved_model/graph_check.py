"""What a SavedModel would do when it is loaded and run, read from its graph before TensorFlow loads it.

A SavedModel is a program. Operators that run Python, touch files or the network, or that only a library of its
author knows are refused. What is left still has to run in a child process with limits. Needs TensorFlow's protobufs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile

FOLDER, NAME, DEFAULT = "saved_model", "saved_model.pb", "serving_default"
NO_NUMBERS = ("string", "resource", "variant")
MOST_BYTES = 2 << 30
REFUSED = re.compile(
    r".*(PyFunc|ReadFile|WriteFile|MatchingFiles|Reader|Dataset|Iterator|Summary|Rpc|Debug|Remote|TextFile|"
    r"Send$|Recv$|Socket|LoadAndRemap|SaveSlices|Plugin|Custom).*|Save|Restore|_.*"
)
OWN = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}  # in TensorFlow's own savers, nowhere else


def checked(folder: Path) -> Path:
    """The SavedModel's folder in an artifact. Raises InvalidFile, naming the operators that are refused."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / FOLDER / NAME
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MOST_BYTES:
        raise InvalidFile(f"There is no {NAME} in this artifact.")
    if any(p.is_symlink() for p in (folder / FOLDER).rglob("*")):
        raise InvalidFile("The SavedModel has links in it.")
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError:
        raise InvalidFile(f"{NAME} is damaged, or no SavedModel.") from None
    if not proto.meta_graphs:
        raise InvalidFile("The SavedModel holds no graph.")
    for graph in proto.meta_graphs:
        _check(graph)
    return folder / FOLDER


def _check(meta: Any) -> None:
    from tensorflow.python.framework import op_def_registry

    functions = {f.signature.name: f.node_def for f in meta.graph_def.library.function}
    everything = [n for nodes in (meta.graph_def.node, *functions.values()) for n in nodes]
    bad = sorted({n.op for n in everything if REFUSED.fullmatch(n.op)})
    bad += ["PrintV2 (to a file)"] * any("://" in n.attr["output_stream"].s.decode("latin1") for n in everything)
    if bad:
        raise InvalidFile(f"The SavedModel uses operators that are not run here: {', '.join(bad)[:300]}.")
    unknown = sorted({n.op for n in everything if n.op not in functions and op_def_registry.get(n.op) is None})
    if unknown:
        raise InvalidFile(f"The SavedModel needs operators that TensorFlow does not have: {', '.join(unknown)[:300]}.")
    savers = sorted(_reached(meta, functions) & OWN)
    if savers:
        raise InvalidFile(f"The SavedModel reads or writes files while it runs ({', '.join(savers)}).")


def _reached(meta: Any, functions: dict[str, Any]) -> set[str]:
    """Operators that calling a signature may run: all that functions called outside of savers hold."""
    savers = {name for name in functions if re.fullmatch(r"__inference__traced_(save|restore)_\d+", name)}
    saver = {meta.saver_def.restore_op_name, meta.saver_def.save_tensor_name.partition(":")[0]}
    graph = [n for n in meta.graph_def.node if n.name not in saver and not n.name.startswith("save/")]
    todo = [n for name, nodes in functions.items() if name not in savers for n in nodes] + graph
    called = {a.func.name for n in todo for a in n.attr.values()} | {f.name for n in todo for a in n.attr.values()
                                                                  for f in a.list.func}  # fmt: skip
    # a saver called from elsewhere is no saver
    return {n.op for n in todo} | {n.op for name in called & savers for n in functions[name]}


def signatures_of(loaded: Any) -> dict[str, Any]:
    """The concrete functions that can be run, by key, ``serving_default`` first: those that take and give numbers.

    Of several that compute the same on the same (``serve`` and ``serving_default`` of Keras), only the first counts.
    Where none takes and gives numbers, all are given. Raises InvalidFile where there is none.
    """
    found = dict(loaded.signatures)
    if not found:
        raise InvalidFile(f"The SavedModel has no signature, such as {DEFAULT!r}. Export it with one.")
    known: dict[str, Any] = {}
    bodies: list[Any] = []
    for key in sorted(found, key=lambda k: (k != DEFAULT, natural(k))):
        if (body := _body(found[key])) not in bodies:
            known[key] = found[key]
            bodies.append(body)
    return {k: f for k, f in known.items() if _numbers(f)} or known


def _body(function: Any) -> tuple[list[bytes], list[int]]:
    """What tells one signature from another: its graph, and the variables and constants that it reads."""
    nodes = []
    for node in function.graph.as_graph_def().node:
        node.attr.pop("_user_specified_name", None)  # of what is captured: a number that is never twice the same
        nodes.append(node.SerializeToString(deterministic=True))
    return nodes, [id(c) for c in function.captured_inputs]


def _numbers(function: Any) -> bool:
    _, given = function.structured_input_signature
    values = (*given.values(), *function.structured_outputs.values())
    return not any(v.dtype.name in NO_NUMBERS for v in values)


def natural(name: str) -> list[Any]:
    """A key that sorts output_2 before output_10: a SavedModel keeps no order of its own."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
