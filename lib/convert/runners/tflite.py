"""Runs TensorFlow Lite files in the LiteRT interpreter, after their structure has been verified."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert import tflite_file
from lib.convert.runners import Arrays
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean

GATHER, EMBEDDING_LOOKUP = 36, 7
PASSED = {22, 43, 53, 70}  # RESHAPE, SQUEEZE, CAST, EXPAND_DIMS
DEFAULT = "serving_default"


class TfliteRunner:
    """``folder`` holds ``model.tflite``; its signature ``serving_default`` is used, else the first, else its graph.

    Values go in and out as they are stored: an input that is quantized takes its integers.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / tflite_file.NAME
        if not path.is_file():
            raise InvalidFile(f"There is no {tflite_file.NAME} in this artifact.")
        self._file = tflite_file.read(path)
        self._inputs, self._outputs = _ends(self._file)
        self._signature = described(self._file)
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter: Any = Interpreter(model_path=str(path))
        except (ValueError, RuntimeError) as error:
            raise InvalidFile(f"The LiteRT interpreter refuses this file: {clean(str(error))}") from None

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Raises JobFailed in the interpreter's words, or where an input has another dtype or shape."""
        interpreter = self._interpreter
        for value in self._signature.inputs:
            _fits(value, inputs)
        try:
            for value, index in zip(self._signature.inputs, self._inputs.values(), strict=True):
                interpreter.resize_tensor_input(index, inputs[value.name].shape)
            interpreter.allocate_tensors()
            for value, index in zip(self._signature.inputs, self._inputs.values(), strict=True):
                interpreter.set_tensor(index, inputs[value.name])
            interpreter.invoke()
            # copies: the interpreter's own memory changes with the next run
            return {name: np.array(interpreter.get_tensor(index)) for name, index in self._outputs.items()}
        except (ValueError, RuntimeError) as error:
            raise JobFailed(f"The LiteRT interpreter refuses: {clean(str(error))}") from None

    def close(self) -> None:
        self._interpreter = None


def _ends(model: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Inputs and outputs: name -> tensor. In the graph's order, not the signature's."""
    signatures = {s["key"]: s for s in reversed(model["signature_defs"])}
    chosen = signatures.get(DEFAULT) or next(reversed(signatures.values()), None)
    if chosen and chosen["subgraph"] != 0:
        raise InvalidFile("The default signature of this TensorFlow Lite file is not its main graph.")
    graph = model["subgraphs"][0]
    ends = []
    for kind in ("inputs", "outputs"):
        names = {m["tensor"]: m["name"] for m in chosen[kind]} if chosen else {}
        found: dict[str, int] = {}
        for k, tensor in enumerate(graph[kind].tolist()):
            name = names.get(tensor) or graph["tensors"][tensor]["name"] or f"{kind[:-1]}_{k}"
            found[name if name not in found else f"{name}_{k}"] = tensor
        ends.append(found)
    return ends[0], ends[1]


def tensor_names(model: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Inputs and outputs: the tensor's own name -> its name in the signature."""
    tensors = model["subgraphs"][0]["tensors"]
    ins, outs = ({tensors[number]["name"]: name for name, number in some.items()} for some in _ends(model))
    return ins, outs


def described(model: dict[str, Any]) -> Signature:
    """Of a file as ``tflite_file.read`` gives it. Raises InvalidFile for what is no plain tensor."""
    graph, (inputs, outputs) = model["subgraphs"][0], _ends(model)
    indexed = _indexed(model, graph, list(inputs.values()))

    def value(name: str, number: int) -> Value:
        tensor = graph["tensors"][number]
        if tensor["type"] not in tflite_file.DTYPES:
            raise InvalidFile(f"{name[:80]!r} holds text, a resource or packed numbers; only plain tensors can be compared.")
        dtype = tflite_file.DTYPES[tensor["type"]]
        shape = tuple(
            int(d) if s >= 0 else "batch" if axis == 0 else re.sub(r"\W|^(?=\d)", "_", f"{name}_{axis}")
            for axis, (d, s) in enumerate(zip(tensor["shape"], _free(tensor), strict=True))
        )
        high = indexed.get(number)
        role = "image" if dtype == "float32" and len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3)) else ""
        if high and dtype.startswith(("int", "uint")):
            role = "tokens" if len(shape) == 2 else "index"
        return Value(name, dtype, shape, role, high)

    ins = tuple(value(*item) for item in inputs.items())
    outs = tuple(value(*item) for item in outputs.items())
    return Signature(ins, tuple(Value(v.name, v.dtype, v.shape) for v in outs))


def _free(tensor: dict[str, Any]) -> np.ndarray:
    """The shape with -1 where a dimension is free."""
    return tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]


def _indexed(model: dict[str, Any], graph: dict[str, Any], inputs: list[int]) -> dict[int, int]:
    """Inputs whose values index a table, through operators that keep them: tensor -> size of the smallest."""
    found: dict[int, int] = {}
    for start in inputs:
        reached = {start}
        for operator in graph["operators"]:  # in the order of execution
            kind, ins = tflite_file.code(model, operator), operator["inputs"].tolist()
            if kind in PASSED and ins and ins[0] in reached:
                reached |= set(operator["outputs"].tolist())
            table = None
            if kind == GATHER and len(ins) == 2 and ins[1] in reached:
                axis = operator["options"].int32(0) if operator["options"] else 0
                table = graph["tensors"][ins[0]]["shape"][axis : axis + 1] if axis >= 0 else None
            elif kind == EMBEDDING_LOOKUP and len(ins) == 2 and ins[0] in reached:
                table = graph["tensors"][ins[1]]["shape"][:1]
            if table is not None and len(table) and table[0] > 0:
                found[start] = min(int(table[0]), found.get(start, int(table[0])))
    return found


def _fits(value: Value, inputs: Arrays) -> None:
    if value.name not in inputs:
        raise JobFailed(f"The model did not get its input {value.name[:80]!r}.")
    given = inputs[value.name]
    same = len(given.shape) == len(value.shape) and all(
        isinstance(want, str) or want == have for want, have in zip(value.shape, given.shape, strict=True)
    )
    if not same or given.dtype.name != value.dtype:
        raise JobFailed(
            f"{value.name[:80]!r} takes {value.dtype} {list(value.shape)}; it got {given.dtype} {list(given.shape)}."
        )
