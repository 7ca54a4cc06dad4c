"""Emulates rounded activations of a quantised TensorFlow Lite file: finds their steps and writes a file that rounds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.core import signatures
from lib.convert.emulation.draws import Arrays
from lib.convert.emulation.tflite_weights import tensors
from lib.tflite import file as tflite_file
from lib.tflite.signatures import parts

# operators that quantise their input at run time if their weights are int8: (index of the input, index of the weights)
WHILE_RUNNING = {3: (0, 1), 4: (0, 1), 9: (0, 1), 67: (2, 1), 126: (0, 1)}  # CONV_2D ... BATCH_MATMUL
BY_ROWS = {9, 126}  # these take one range per row, the others one per input
JITTER = 0.15  # draws use scales up to this share larger, so that other values round up or down
MAX_CLIPPED = 0.5  # share of a tensor's energy outside its range above which the range is wrong
INT16 = 32767


@dataclass(slots=True)
class Step:
    """How a tensor is quantised: real value = (integer - ``zero``) * ``scale``."""

    scale: float
    zero: int
    wide: bool  # int8's step size without its limits, for ranges that are measured at run time


def steps(
    source: Path, model: dict[str, Any], file: dict[str, Any], inputs: list[Arrays]
) -> tuple[dict[int, Step], list[str]]:
    """Returns the steps by tensor of the main graph, and complaints about ranges that clip most of the source's tensor."""
    graph, file_tensors = model["subgraphs"][0], tensors(file)
    indices = {tensor["name"]: k for k, tensor in enumerate(graph["tensors"])}
    computed = {k for operator in graph["operators"] for k in operator["outputs"].tolist()} | set(graph["inputs"].tolist())
    static: dict[int, Step] = {}
    for (number, name), counterpart in file_tensors.items():
        tensor = graph["tensors"][indices[name]] if number == 0 and name in indices else None
        params = counterpart["quantization"]
        if tensor is None or tensor["type"] != 0 or indices[name] not in computed or not params or len(params["scale"]) != 1:
            continue
        if tflite_file.DTYPES.get(counterpart["type"]) == "int8" and tflite_file.stored(file, counterpart) is None:
            zero = int(params["zero_point"][0]) if len(params["zero_point"]) else 0
            static[indices[name]] = Step(float(params["scale"][0]), zero, wide=False)
    while_running: dict[int, bool] = {}
    for operator in graph["operators"]:
        places = WHILE_RUNNING.get(tflite_file.code(model, operator))
        args = operator["inputs"].tolist()
        if places is None or max(places) >= len(args) or args[places[0]] not in computed or args[places[0]] in static:
            continue
        weight = file_tensors.get((0, graph["tensors"][args[places[1]]]["name"]))
        if weight is not None and tflite_file.DTYPES.get(weight["type"]) == "int8":
            while_running[args[places[0]]] = tflite_file.code(model, operator) in BY_ROWS
    if not static and not while_running:
        return {}, []
    values_by_tensor = _run_tensors(source, model, [*static, *while_running], inputs)
    complaints = []
    for number, step in static.items():
        low, high = ((end - step.zero) * step.scale for end in (-128, 127))
        energy, lost = 0.0, 0.0
        for value in (v.astype(np.float64) for v in values_by_tensor.get(number, ())):
            energy += float((value**2).sum())
            lost += float(((value - np.clip(value, low, high)) ** 2).sum())
        if energy > 0 and lost > MAX_CLIPPED * energy:
            name = graph["tensors"][number]["name"][:100]
            complaints.append(f"The range of {name!r} cuts off {lost / energy:.0%} of the source's signal there.")
    for number, by_rows in while_running.items():
        squares = [_step(value, by_rows) for value in values_by_tensor.get(number, ()) if value.size]
        if squares and (scale := float(np.sqrt(np.mean(np.concatenate(squares) ** 2)))) > 0:
            static[number] = Step(scale, 0, wide=True)
    return static, complaints


def _step(value: np.ndarray, by_rows: bool) -> np.ndarray:
    rows = value.reshape(-1, value.shape[-1]) if by_rows else value.reshape(1, -1)
    return (np.maximum(rows.max(1), 0) - np.minimum(rows.min(1), 0)) / 255


def _run_tensors(
    source: Path, model: dict[str, Any], wanted: list[int], inputs: list[Arrays]
) -> dict[int, list[np.ndarray]]:
    """Returns the values of the main graph's tensors ``wanted`` on each input; none if no signature runs that graph."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    part = next((p for p in parts(model, signatures.chosen(source)) if p.graph == 0), None)
    values: dict[int, list[np.ndarray]] = {number: [] for number in wanted}
    if part is None:
        return values
    interpreter = Interpreter(
        model_path=str(source / tflite_file.NAME),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    for arrays in inputs:
        try:
            part.invoke(interpreter, arrays)
            for number in wanted:
                values[number].append(np.array(interpreter.get_tensor(number)))
        except (ValueError, RuntimeError):  # the emulation's own run reports the error
            continue
    return values


def with_rounding(data: bytes, steps_by_tensor: dict[int, Step], rng: np.random.Generator | None) -> bytes:
    """Returns the verified file with QUANTIZE and DEQUANTIZE inserted after the tensors of ``steps_by_tensor``.

    A file that stores weights after its flatbuffer is returned unchanged, since their offsets would shift.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(data, 0)
    if any(buffer.offset > 1 for buffer in model.buffers):
        return data
    graph = model.subgraphs[0]
    codes = []
    for kind in (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 2 if kind == schema.BuiltinOperator.QUANTIZE else 3
        codes.append(len(model.operatorCodes))
        model.operatorCodes.append(code)

    def pair(number: int, step: Step) -> tuple[list[Any], int]:
        old = graph.tensors[number]
        small, back = schema.TensorT(), schema.TensorT()
        small.type = schema.TensorType.INT16 if step.wide else schema.TensorType.INT8
        small.quantization = schema.QuantizationParametersT()
        small.quantization.scale = [step.scale * (1.0 if rng is None else 1 + JITTER * rng.random())]
        small.quantization.zeroPoint = [step.zero]
        for tensor, end in ((small, b"__rounded"), (back, b"__back")):
            tensor.name, tensor.shape, tensor.shapeSignature = old.name + end, old.shape, old.shapeSignature
            tensor.hasRank, tensor.buffer = old.hasRank, 0
        graph.tensors += [small, back]
        nodes = []
        for code, source, target in zip(
            codes, (number, len(graph.tensors) - 2), (len(graph.tensors) - 2, len(graph.tensors) - 1), strict=True
        ):
            node = schema.OperatorT()
            node.opcodeIndex, node.inputs, node.outputs = code, [source], [target]
            nodes.append(node)
        return nodes, len(graph.tensors) - 1

    renamed: dict[int, int] = {}
    operators: list[Any] = []

    def insert_after(numbers: Any) -> None:
        for number in numbers:
            if number in steps_by_tensor and number not in renamed:
                nodes, renamed[number] = pair(number, steps_by_tensor[number])
                operators.extend(nodes)

    insert_after(int(k) for k in graph.inputs)
    for operator in graph.operators:
        operator.inputs = [renamed.get(int(k), int(k)) for k in operator.inputs]
        operators.append(operator)
        insert_after(int(k) for k in operator.outputs)
    graph.operators = operators
    graph.outputs = [renamed.get(int(k), int(k)) for k in graph.outputs]
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            for end in signature.outputs or ():
                end.tensorIndex = renamed.get(end.tensorIndex, end.tensorIndex)
    builder = flatbuffers.Builder(len(data) + (1 << 16))
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    return bytes(builder.Output())
