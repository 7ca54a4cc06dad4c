"""The signatures of a TensorFlow Lite file: their graphs, input and output tensors, and names.

Expects a file parsed by ``lib.tflite.file.read``, with all indices in range. Runs nothing.
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
    """``key`` is "" if the file has no signatures. ``inputs`` and ``outputs``: name -> tensor, in the graph's order."""

    key: str
    graph: int
    inputs: dict[str, int]
    outputs: dict[str, int]

    def invoke(self, interpreter: Any, inputs: dict[str, np.ndarray]) -> None:
        """Runs the main graph with the shapes of ``inputs``. Raises ValueError or RuntimeError from the interpreter."""
        for name, index in self.inputs.items():
            interpreter.resize_tensor_input(index, inputs[name].shape)
        interpreter.allocate_tensors()
        for name, index in self.inputs.items():
            interpreter.set_tensor(index, inputs[name])
        interpreter.invoke()


def keys(model: dict[str, Any]) -> list[str]:
    """Returns the signatures whose inputs and outputs are plain tensors, or all if there are none.

    ``serving_default`` is first. Of signatures that only differ in their key, only the first is returned.
    """
    distinct, ends = [], []
    for signature in sorted(model["signature_defs"], key=lambda s: s["key"] != DEFAULT):
        graph_and_maps = signature["subgraph"], _maps(signature["inputs"]), _maps(signature["outputs"])
        if graph_and_maps not in ends and signature["key"] not in (s["key"] for s in distinct):
            distinct.append(signature)
            ends.append(graph_and_maps)
    return [s["key"] for s in distinct if _plain(model, s)] or [s["key"] for s in distinct]


def not_compared(model: dict[str, Any]) -> list[str]:
    """Returns signatures that have text, resources or packed numbers as inputs or outputs, if others do not."""
    compared = keys(model)
    return sorted({s["key"] for s in model["signature_defs"] if s["key"] not in compared and not _plain(model, s)})


def parts(model: dict[str, Any], chosen: str = "") -> list[SignatureGraph]:
    """Returns the chosen signature, or all; the main graph if there are none. Raises InvalidValue for an unknown one."""
    compared, by_key = keys(model), {s["key"]: s for s in reversed(model["signature_defs"])}
    if chosen and chosen not in by_key:
        raise InvalidValue(
            "signature", chosen, ", ".join(k[:80] for k in compared[:20]) or "none: the file has no signatures"
        )
    if not compared:
        return [_part(model, None, 0, "")]
    selected = [chosen] if chosen else compared
    several = len(selected) > 1
    return [_part(model, by_key[k], by_key[k]["subgraph"], named(k, "", several)) for k in selected]


def _part(model: dict[str, Any], signature: dict[str, Any] | None, graph: int, prefix: str) -> SignatureGraph:
    tensors, ends = model["subgraphs"][graph]["tensors"], []
    for kind in ("inputs", "outputs"):
        order = model["subgraphs"][graph][kind].tolist()
        names = {m["tensor"]: m["name"] for m in signature[kind]} if signature else {}
        if graph:  # run by its signature, which only returns the tensors that it names
            order = sorted(names, key=lambda t: order.index(t) if t in order else len(order))
        named_tensors: dict[str, int] = {}
        for k, tensor in enumerate(order):
            name = prefix + (names.get(tensor) or tensors[tensor]["name"] or f"{kind[:-1]}_{k}")
            named_tensors[name if name not in named_tensors else f"{name}_{k}"] = tensor
        ends.append(named_tensors)
    return SignatureGraph(signature["key"] if signature else "", graph, *ends)


def described(model: dict[str, Any], chosen: str = "") -> Signature:
    """Returns the inputs and outputs of the chosen signature, or of all together.

    Raises InvalidFile if one is not a plain tensor.
    """
    inputs: list[Value] = []
    outputs: list[Value] = []
    for part in parts(model, chosen):
        graph = model["subgraphs"][part.graph]
        indexed = _indexed(model, graph, list(part.inputs.values()))
        inputs += [_value(graph, name, number, indexed.get(number)) for name, number in part.inputs.items()]
        output_values = (_value(graph, name, number, None) for name, number in part.outputs.items())
        outputs += [Value(v.name, v.dtype, v.shape) for v in output_values]
    return Signature(tuple(inputs), tuple(outputs))


def _value(graph: dict[str, Any], name: str, number: int, high: int | None) -> Value:
    tensor = graph["tensors"][number]
    if tensor["type"] not in tflite_file.DTYPES:
        raise InvalidFile(f"{name[:80]!r} holds text, a resource or packed numbers; only plain tensors can be compared.")
    dtype = tflite_file.DTYPES[tensor["type"]]
    dynamic_shape = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]  # -1 for dynamic axes
    shape = tuple(
        int(d) if s >= 0 else "batch" if axis == 0 else re.sub(r"\W|^(?=\d)", "_", f"{name}_{axis}")
        for axis, (d, s) in enumerate(zip(tensor["shape"], dynamic_shape, strict=True))
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
    """Maps inputs whose values index a table to the size of the smallest such table.

    Follows values through operators that keep them.
    """
    sizes: dict[int, int] = {}
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
                sizes[start] = min(int(table[0]), sizes.get(start, int(table[0])))
    return sizes
