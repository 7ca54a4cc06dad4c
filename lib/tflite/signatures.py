"""The signatures of a TensorFlow Lite file: which tensors they take and give, of which graph, by which names.

Of a file as ``lib.tflite.file.read`` gives it, so every index is in range. Runs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs.signature import DEFAULT, Signature, Value, named
from lib.tflite import file as tflite_file

GATHER, EMBEDDING_LOOKUP = 36, 7
PASSED = {22, 43, 53, 70}  # RESHAPE, SQUEEZE, CAST, EXPAND_DIMS


@dataclass(slots=True)
class SignatureGraph:
    """``key`` is "" where the file has no signature. ``inputs`` and ``outputs``: name -> tensor, in the graph's order."""

    key: str
    graph: int
    inputs: dict[str, int]
    outputs: dict[str, int]

    def invoke(self, interpreter: Any, inputs: dict[str, np.ndarray]) -> None:
        """Runs the main graph at the sizes of ``inputs``. Raises ValueError or RuntimeError in the interpreter's words."""
        for name, index in self.inputs.items():
            interpreter.resize_tensor_input(index, inputs[name].shape)
        interpreter.allocate_tensors()
        for name, index in self.inputs.items():
            interpreter.set_tensor(index, inputs[name])
        interpreter.invoke()


def keys(model: dict[str, Any]) -> list[str]:
    """Of the signatures whose inputs and outputs are plain tensors; of all where none is. ``serving_default`` first.

    Of several that are the same but for their key, only the first counts.
    """
    known, ends = [], []
    for signature in sorted(model["signature_defs"], key=lambda s: s["key"] != DEFAULT):
        same = signature["subgraph"], _maps(signature["inputs"]), _maps(signature["outputs"])
        if same not in ends and signature["key"] not in (s["key"] for s in known):
            known.append(signature)
            ends.append(same)
    return [s["key"] for s in known if _plain(model, s)] or [s["key"] for s in known]


def not_compared(model: dict[str, Any]) -> list[str]:
    """Signatures that take or give text, resources or packed numbers, beside others that do not."""
    known = keys(model)
    return sorted({s["key"] for s in model["signature_defs"] if s["key"] not in known and not _plain(model, s)})


def parts(model: dict[str, Any], chosen: str = "") -> list[SignatureGraph]:
    """The chosen signature, or every one; the main graph where there is none. Raises InvalidValue for an unknown one."""
    known, by_key = keys(model), {s["key"]: s for s in reversed(model["signature_defs"])}
    if chosen and chosen not in by_key:
        raise InvalidValue("signature", chosen, ", ".join(k[:80] for k in known[:20]) or "none: the file has no signatures")
    if not known:
        return [_part(model, None, 0, "")]
    wanted = [chosen] if chosen else known
    several = len(wanted) > 1
    return [_part(model, by_key[k], by_key[k]["subgraph"], named(k, "", several)) for k in wanted]


def _part(model: dict[str, Any], signature: dict[str, Any] | None, graph: int, prefix: str) -> SignatureGraph:
    tensors, ends = model["subgraphs"][graph]["tensors"], []
    for kind in ("inputs", "outputs"):
        order = model["subgraphs"][graph][kind].tolist()
        given = {m["tensor"]: m["name"] for m in signature[kind]} if signature else {}
        if graph:  # run by its signature, which gives nothing that it does not name
            order = sorted(given, key=lambda t: order.index(t) if t in order else len(order))
        found: dict[str, int] = {}
        for k, tensor in enumerate(order):
            name = prefix + (given.get(tensor) or tensors[tensor]["name"] or f"{kind[:-1]}_{k}")
            found[name if name not in found else f"{name}_{k}"] = tensor
        ends.append(found)
    return SignatureGraph(signature["key"] if signature else "", graph, *ends)


def described(model: dict[str, Any], chosen: str = "") -> Signature:
    """Of the chosen signature, or of all together. Raises InvalidFile for what is no plain tensor."""
    inputs: list[Value] = []
    outputs: list[Value] = []
    for part in parts(model, chosen):
        graph = model["subgraphs"][part.graph]
        indexed = _indexed(model, graph, list(part.inputs.values()))
        inputs += [_value(graph, name, number, indexed.get(number)) for name, number in part.inputs.items()]
        given = (_value(graph, name, number, None) for name, number in part.outputs.items())
        outputs += [Value(v.name, v.dtype, v.shape) for v in given]
    return Signature(tuple(inputs), tuple(outputs))


def _value(graph: dict[str, Any], name: str, number: int, high: int | None) -> Value:
    tensor = graph["tensors"][number]
    if tensor["type"] not in tflite_file.DTYPES:
        raise InvalidFile(f"{name[:80]!r} holds text, a resource or packed numbers; only plain tensors can be compared.")
    dtype = tflite_file.DTYPES[tensor["type"]]
    free = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]  # -1 where it is free
    shape = tuple(
        int(d) if s >= 0 else "batch" if axis == 0 else re.sub(r"\W|^(?=\d)", "_", f"{name}_{axis}")
        for axis, (d, s) in enumerate(zip(tensor["shape"], free, strict=True))
    )
    role = "image" if dtype == "float32" and len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3)) else ""
    if high and dtype.startswith(("int", "uint")):
        role = "tokens" if len(shape) == 2 else "index"
    return Value(name, dtype, shape, role, high)


def _maps(some: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return sorted((m["name"], m["tensor"]) for m in some)


def _plain(model: dict[str, Any], signature: dict[str, Any]) -> bool:
    tensors = model["subgraphs"][signature["subgraph"]]["tensors"]
    used = (m["tensor"] for m in (*signature["inputs"], *signature["outputs"]))
    return all(tensors[t]["type"] in tflite_file.DTYPES for t in used)


def _indexed(model: dict[str, Any], graph: dict[str, Any], inputs: list[int]) -> dict[int, int]:
    """Inputs whose values index a table, through operators that keep them: tensor -> size of the smallest."""
    found: dict[int, int] = {}
    for start in inputs:
        reached = {start}
        for operator in graph["operators"]:  # in the order of execution
            kind, ins = tflite_file.code(model, operator), operator["inputs"].tolist()
            if kind in PASSED and ins and ins[0] in reached:
                reached |= set(operator["outputs"].tolist())
            table: np.ndarray | None = None
            if kind == GATHER and len(ins) == 2 and ins[1] in reached:
                axis = operator["options"].int32(0) if operator["options"] else 0
                table = graph["tensors"][ins[0]]["shape"][axis : axis + 1] if axis >= 0 else None
            elif kind == EMBEDDING_LOOKUP and len(ins) == 2 and ins[0] in reached:
                table = graph["tensors"][ins[1]]["shape"][:1]
            if table is not None and len(table) and table[0] > 0:
                found[start] = min(int(table[0]), found.get(start, int(table[0])))
    return found
