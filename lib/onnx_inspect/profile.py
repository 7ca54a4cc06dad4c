"""Where the time goes: onnxruntime's own profile by node, joined with the MACs of what each kernel ran."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto

from lib.onnx_inspect.cost import FORMULAS, NONE
from lib.onnx_inspect.graph import CONTROL, Node
from lib.onnx_inspect.shapes import Type
from lib.onnx_model.functions import all_nodes
from lib.onnx_model.runtime import CPU, options, ready

REPEATS = 3
PROFILE_SECONDS = 20.0  # no further repeat after that
MAX_PROFILE = 64 << 20  # bytes of JSON: a loop's every step is in it
# what onnxruntime's fused kernels compute, for those whose own name has no formula
PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
MOVES = (
    "ReorderInput",
    "ReorderOutput",
    "MemcpyFromHost",
    "MemcpyToHost",
    "BiasGelu",
    "SkipLayerNormalization",
    "QuickGelu",
)
STANDS_FOR = {"FusedConv": "Conv", "NhwcFusedConv": "Conv", "FusedMatMul": "MatMul", "FusedGemm": "Gemm"}


BLOCKED = "_nchwc"  # onnxruntime's own layout, in which channels come in eights or sixteens, the last ones empty
MAX_BACK = 6  # nodes that may have been fused into one convolution


@dataclass(slots=True)
class Layer:
    """A convolution of the model: its node's name, and its weight's shape [C_out, C_in / group, kernel…]."""

    name: str
    weight: tuple[int, ...]


def profile(
    path: Path, values: dict[str, np.ndarray], folder: Path, model: ModelProto | None = None
) -> list[dict[str, Any]]:
    """Milliseconds a node and run, the median of three after a warm-up, slowest first; [] where it cannot be had.

    Rows are kernels of the optimised graph: fused ones have onnxruntime's names. ``macs`` come from the
    shapes a kernel really had (None: not counted), ``gmacs_per_second`` from both; of convolutions in onnxruntime's
    blocked layout from the ``model``'s own channels, for the kernel's are filled up. Loops and branches are left
    out, for the profile lists what runs inside them.
    """
    try:
        session = onnxruntime.InferenceSession(str(path), options(profile=str(folder / "profile")), providers=CPU)
        call = ready(session, values)
        start, runs = time.monotonic(), 0
        while runs == 0 or (runs <= REPEATS and time.monotonic() - start < PROFILE_SECONDS):
            call()
            runs += 1
        found = Path(session.end_profiling())
        events = json.loads(found.read_text()) if found.stat().st_size <= MAX_PROFILE else []
        found.unlink()
        kernels = (e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time"))
        return rows((e for e in kernels if e["args"]["op_name"] not in CONTROL), runs, model)
    except Exception:  # onnxruntime's errors share no base class; a node's name may break its JSON
        return []


def layers(model: ModelProto) -> dict[str, Layer]:
    """The convolution behind each value: its own output, and what activations and additions make of that."""
    nodes = list(all_nodes(model.graph.node))
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    constants = (n for n in nodes if n.op_type == "Constant" and n.output)
    weights |= {n.output[0]: tuple(a.t.dims) for n in constants for a in n.attribute if a.name == "value"}
    out: dict[str, tuple[Layer, int]] = {}
    for k, node in enumerate(nodes):
        if node.op_type == "Conv" and len(node.input) > 1 and node.input[1] in weights and node.output:
            out[node.output[0]] = Layer(node.name or f"Conv_{k}", weights[node.input[1]]), 0
        elif node.op_type in NONE and node.output:
            behind = [out[name] for name in node.input if name in out]
            if behind and behind[0][1] < MAX_BACK:
                out[node.output[0]] = behind[0][0], behind[0][1] + 1
    return {name: layer for name, (layer, _) in out.items()}


def rows(events: Iterable[dict[str, Any]], runs: int, model: ModelProto | None = None) -> list[dict[str, Any]]:
    """Kernel events of ``runs`` equal runs, the first a warm-up, as one row a node."""
    found_layers = layers(model) if model is not None else {}
    nodes = all_nodes(model.graph.node) if model is not None else ()
    makers = {n.output[0]: n.name or f"{n.op_type}, which makes {n.output[0]}" for n in nodes if n.output}
    spent: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        op = event["args"]["op_name"]
        name = event["name"].removesuffix("_kernel_time") or f"{op}_{event['args'].get('node_index', '')}"
        spent.setdefault((name, op), []).append(event)
    out = []
    for (name, op), found in spent.items():
        calls = max(1, len(found) // runs)
        each = [found[k : k + calls] for k in range(0, len(found), calls)]
        ms = float(np.median([sum(e["dur"] for e in run) / 1000 for run in each[1:] or each]))
        layer = found_layers.get(name.removesuffix(BLOCKED)) if op == "Conv" and name.endswith(BLOCKED) else None
        counted = [macs(e["args"], layer) for e in each[-1]]
        total = None if None in counted else sum(counted)  # type: ignore[arg-type]
        known = layer.name if layer else makers.get(name.removesuffix(BLOCKED), name) if name.endswith(BLOCKED) else name
        row = {"node": known, "operator": op, "calls": calls, "ms": ms, "macs": total}
        out.append(row | {"gmacs_per_second": total / ms / 1e6 if total and ms else None})
    everything = sum(r["ms"] for r in out) or 1.0
    return sorted(({**r, "share": r["ms"] / everything} for r in out), key=lambda r: -r["ms"])


def macs(arguments: dict[str, Any], layer: Layer | None = None) -> int | None:
    """By the shapes in a profile event; None where they do not tell: weights that a kernel packed are missing there.

    With ``layer``, by its weight and the places of the output, without the channels that only fill a block.
    """
    op = STANDS_FOR.get(arguments["op_name"], arguments["op_name"])
    if op in NONE or op in MOVES:
        return 0
    inputs, outputs = (
        [tuple(next(iter(t.values()))) for t in arguments.get(key, []) if t]
        for key in ("input_type_shape", "output_type_shape")
    )
    if layer is not None and outputs:
        n, _, *space = outputs[0]
        return n * prod(space) * prod(layer.weight)
    if op not in FORMULAS or not inputs or not outputs or not _complete(op, inputs, outputs[0]):
        return None
    proto = NodeProto(op_type=op)
    if op in PRODUCTS and len(inputs[0]) > 1 and outputs[0][-2:-1] not in (inputs[0][-2:-1], ()):
        proto.attribute.add(name="transA", i=1, type=2)
    names = [f"i{k}" for k in range(len(inputs))]
    kinds = {name: Type("tensor", 1, shape) for name, shape in zip([*names, "o"], [*inputs, outputs[0]], strict=True)}
    try:
        return FORMULAS[op](Node(0, "", op, "", "", tuple(names), ("o",), proto, kinds))
    except (TypeError, ValueError, IndexError, AttributeError):
        return None


def _complete(op: str, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> bool:
    """Whether the operands that the formula asks for are all there, and none has moved up into another's place."""
    if op in PRODUCTS:
        return True  # by the first operand and the output
    if op in ("Conv", "ConvInteger", "ConvTranspose"):
        return len(inputs) > 1 and len(inputs[1]) == len(output)
    if op == "QLinearConv":
        return len(inputs) > 7 and len(inputs[3]) == len(output)
    if op in ("LSTM", "GRU", "RNN"):
        x, *rest = inputs
        return len(rest) > 1 and [len(s) for s in rest[:2]] == [3, 3] and rest[0][:2] == rest[1][:2] and x[2] == rest[0][2]
    return op == "Attention" and all(len(s) == 4 for s in inputs[:3])
