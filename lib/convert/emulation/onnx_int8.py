"""Emulates int8 for ONNX: rounds the weights and activations that the file quantises, in the source's graph.

Uses the file's own scales (per tensor or per channel, static or dynamic), after checking that the file's integers are the
source's weights, rounded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lib.convert.emulation import onnx_fold, onnx_graph, onnx_matched
from lib.convert.emulation.draws import Arrays, Emulation, run_draws
from lib.convert.emulation.onnx_described import QuantizedTensors, read_quantization
from lib.convert.formats.onnx import files as onnx_files

PRODUCTS = {"Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN"}
JITTER = 0.15  # draws use scales up to this share larger, so that other values round up or down
FAR = 3e38  # stands for an open end of a range
MAX_CLIPPED = 0.5  # share of a tensor's energy outside its range above which the range is wrong


def fill(found: Emulation, source: Path, target: Path, inputs: list[Arrays], seed: int, draws: int) -> None:
    """Fills ``found`` for the int8 ONNX artifact ``target``. Raises like ``emulated.emulated``, and JobFailed."""
    model = onnx_graph.opened(source)
    onnx_fold.constants_to_initializers(model)
    unfolded = onnx_fold.constants(model)
    onnx_fold.fold(model)
    quantization = read_quantization(onnx_files.read(target))
    found.weights += quantization.complaints
    rounders = onnx_matched.match_weights(model, unfolded, quantization, found)
    float_names = onnx_graph.float_tensors(model) | onnx_graph.float_inputs(model)
    quantization.static = {name: value for name, value in quantization.static.items() if name in float_names}
    found.weights += _clipping(model, quantization, inputs)
    run_draws(
        found, lambda rng: onnx_graph.run(_rounded(model, quantization, rounders, float_names, rng), inputs), seed, draws
    )


def _rounded(
    model: ModelProto,
    quantization: QuantizedTensors,
    rounders: dict[str, onnx_matched.Rounder],
    known: set[str],
    rng: np.random.Generator | None,
) -> ModelProto:
    out = onnx_graph.copied(model)
    for tensor in out.graph.initializer:
        if tensor.name in rounders:
            values = rounders[tensor.name](numpy_helper.to_array(tensor), rng)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))

    def static(before: str, after: str) -> tuple[list[NodeProto], list[TensorProto]]:
        scale, zero = quantization.static[after]
        stretch = 1.0 if rng is None else 1 + JITTER * rng.random()
        names = [f"{after}__{k}" for k in ("scale", "zero", "whole")]
        constants = [numpy_helper.from_array(np.asarray(scale, np.float32).reshape(()) * np.float32(stretch), names[0])]
        constants.append(numpy_helper.from_array(zero.reshape(()), names[1]))
        nodes = [
            helper.make_node("QuantizeLinear", [before, *names[:2]], [names[2]]),
            helper.make_node("DequantizeLinear", [names[2], *names[:2]], [after]),
        ]
        return nodes, constants

    onnx_graph.insert_after(out, set(quantization.static), static)
    dynamic = quantization.dynamic & known
    if quantization.dynamic and not dynamic:  # the tool renamed the tensors: take every product's first input
        dynamic = {n.input[0] for n in model.graph.node if n.op_type in PRODUCTS} & known
    _dynamic(out, dynamic, set(rounders), rng)
    if dynamic or quantization.static:
        _raise_opset(out)
    return out


def _dynamic(model: ModelProto, dynamic: set[str], rounded: set[str], rng: np.random.Generator | None) -> None:
    """Rounds the inputs of products that have dynamic ranges, in place; other consumers still read the unrounded tensor."""
    rounded_names: set[str] = set()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            for k, name in enumerate(node.input[:2]):
                if name in dynamic:
                    if name not in rounded_names:
                        rounded_names.add(name)
                        nodes += _while_running(model, name, rng)
                    node.input[k] = f"{name}__rounded"
        nodes.append(node)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _while_running(model: ModelProto, name: str, rng: np.random.Generator | None) -> list[NodeProto]:
    integers, scale, zero, stretched, requantised, factor, output = (
        f"{name}__{k}" for k in ("whole", "scale", "zero", "stretched", "again", "factor", "rounded")
    )
    stretch = 1.0 if rng is None else 1 + JITTER * rng.random()
    model.graph.initializer.append(numpy_helper.from_array(np.array(stretch, np.float32), factor))
    return [
        helper.make_node("DynamicQuantizeLinear", [name], [integers, scale, zero]),
        helper.make_node("Mul", [scale, factor], [stretched]),
        helper.make_node("QuantizeLinear", [name, stretched, zero], [requantised]),
        helper.make_node("DequantizeLinear", [requantised, stretched, zero], [output]),
    ]


def _raise_opset(model: ModelProto) -> None:
    """Converts in place: QuantizeLinear needs opset 10, DynamicQuantizeLinear 11. Raises JobFailed if it cannot."""
    from lib.convert.formats.onnx.opset import convert as opset

    if onnx_files.opset(model) < 11:
        raised = opset.convert(model, 13)
        model.CopyFrom(raised)


def _clipping(model: ModelProto, quantization: QuantizedTensors, inputs: list[Arrays]) -> list[str]:
    """Returns complaints about ranges that clip most of the source's tensor on these inputs."""
    if not quantization.static or not inputs:
        return []
    out = onnx_graph.copied(model)
    produced = {name for n in out.graph.node for name in n.output} | {v.name for v in out.graph.input}
    names = [name for name in quantization.static if name in produced]
    if onnx_files.opset(out) < 8:  # Min and Max broadcast from here on
        return []
    takers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, set()).add(node.op_type)
    for k, name in enumerate(names):
        scale, zero = quantization.static[name]
        ends = np.iinfo(zero.dtype)
        low, high, upper, clipped, cut = (f"__{k}_{part_name}" for part_name in ("low", "high", "upper", "both", "cut"))
        for end, part in ((ends.min, low), (ends.max, high)):
            # tools remove a Relu or Clip that the range itself replaces
            free = takers.get(name) == {"Clip"} or (end == ends.min and takers.get(name) == {"Relu"})
            edge = (end - int(zero.reshape(-1)[0])) * float(scale.reshape(-1)[0])
            value = np.array(np.copysign(FAR, end - 0.5) if free else edge, np.float32)
            out.graph.initializer.append(numpy_helper.from_array(value, part))
        out.graph.node.extend(
            [
                helper.make_node("Min", [name, high], [upper]),
                helper.make_node("Max", [upper, low], [clipped]),
                helper.make_node("Sub", [name, clipped], [cut]),
                helper.make_node("ReduceSumSquare", [name], [f"__{k}_sum"], keepdims=0),
                helper.make_node("ReduceSumSquare", [cut], [f"__{k}_lost"], keepdims=0),
            ]
        )
        for total in (f"__{k}_sum", f"__{k}_lost"):
            out.graph.output.append(helper.make_tensor_value_info(total, TensorProto.FLOAT, None))
    sums = onnx_graph.run(out, inputs)
    complaints = []
    for k, name in enumerate(names):
        energy, lost = (sum(float(np.sum(s[f"__{k}_{part_name}"])) for s in sums) for part_name in ("sum", "lost"))
        if energy > 0 and lost > MAX_CLIPPED * energy:
            complaints.append(f"The range of {name[:100]!r} cuts off {lost / energy:.0%} of the source's signal there.")
    return complaints
