"""Profile a model by node with onnxruntime's profiler, joined with the MACs of each kernel."""

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
PROFILE_SECONDS = 20.0  # no more repeats are started after that
MAX_PROFILE = 64 << 20  # bytes of JSON, which has every iteration of a loop
# matrix products, whose MACs follow from the first operand and the output
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


BLOCKED = "_nchwc"  # onnxruntime's blocked layout: channels are padded to a multiple of 8 or 16
MAX_BACK = 6  # nodes that may be fused into one convolution


@dataclass(slots=True)
class Layer:
    """A convolution of the model: name of its node and shape of its weight, [C_out, C_in / group, kernel…]."""

    name: str
    weight: tuple[int, ...]


def profile(
    path: Path, values: dict[str, np.ndarray], folder: Path, model: ModelProto | None = None
) -> list[dict[str, Any]]:
    """Return milliseconds per node and run, the median of three after a warm-up, slowest first. [] if profiling fails.

    Rows are kernels of the optimized graph; fused ones have onnxruntime's names. ``macs`` come from the actual shapes of
    a kernel (None: not counted), but for convolutions in the blocked layout from the ``model``'s channels, since the
    kernel's are padded. Loops and branches are left out, since the profile lists the kernels inside them.
    """
    try:
        session = onnxruntime.InferenceSession(str(path), options(profile=str(folder / "profile")), providers=CPU)
        call = ready(session, values)
        start, runs = time.monotonic(), 0
        while runs == 0 or (runs <= REPEATS and time.monotonic() - start < PROFILE_SECONDS):
            call()
            runs += 1
        profile_path = Path(session.end_profiling())
        events = json.loads(profile_path.read_text()) if profile_path.stat().st_size <= MAX_PROFILE else []
        profile_path.unlink()
        kernels = (e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time"))
        return rows((e for e in kernels if e["args"]["op_name"] not in CONTROL), runs, model)
    except Exception:  # onnxruntime's errors have no common base class; a node's name may break the JSON
        return []


def layers(model: ModelProto) -> dict[str, Layer]:
    """Map each value to the convolution it comes from, directly or through a few element-wise operators."""
    nodes = list(all_nodes(model.graph.node))
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    constants = (n for n in nodes if n.op_type == "Constant" and n.output)
    weights |= {n.output[0]: tuple(a.t.dims) for n in constants for a in n.attribute if a.name == "value"}
    origins: dict[str, tuple[Layer, int]] = {}
    for k, node in enumerate(nodes):
        if node.op_type == "Conv" and len(node.input) > 1 and node.input[1] in weights and node.output:
            origins[node.output[0]] = Layer(node.name or f"Conv_{k}", weights[node.input[1]]), 0
        elif node.op_type in NONE and node.output:
            candidates = [origins[name] for name in node.input if name in origins]
            if candidates and candidates[0][1] < MAX_BACK:
                origins[node.output[0]] = candidates[0][0], candidates[0][1] + 1
    return {name: layer for name, (layer, _) in origins.items()}


def rows(events: Iterable[dict[str, Any]], runs: int, model: ModelProto | None = None) -> list[dict[str, Any]]:
    """Aggregate the kernel events of ``runs`` equal runs, the first a warm-up, into one row per node."""
    found_layers = layers(model) if model is not None else {}
    nodes = all_nodes(model.graph.node) if model is not None else ()
    makers = {n.output[0]: n.name or f"{n.op_type}, which makes {n.output[0]}" for n in nodes if n.output}
    events_by_node: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        op = event["args"]["op_name"]
        name = event["name"].removesuffix("_kernel_time") or f"{op}_{event['args'].get('node_index', '')}"
        events_by_node.setdefault((name, op), []).append(event)
    table = []
    for (name, op), node_events in events_by_node.items():
        calls = max(1, len(node_events) // runs)
        runs_of_node = [node_events[k : k + calls] for k in range(0, len(node_events), calls)]
        ms = float(np.median([sum(e["dur"] for e in run) / 1000 for run in runs_of_node[1:] or runs_of_node]))
        layer = found_layers.get(name.removesuffix(BLOCKED)) if op == "Conv" and name.endswith(BLOCKED) else None
        counted = [macs(e["args"], layer) for e in runs_of_node[-1]]
        total = None if None in counted else sum(counted)  # type: ignore[arg-type]
        label = layer.name if layer else makers.get(name.removesuffix(BLOCKED), name) if name.endswith(BLOCKED) else name
        row = {"node": label, "operator": op, "calls": calls, "ms": ms, "macs": total}
        table.append(row | {"gmacs_per_second": total / ms / 1e6 if total and ms else None})
    total_ms = sum(r["ms"] for r in table) or 1.0
    return sorted(({**r, "share": r["ms"] / total_ms} for r in table), key=lambda r: -r["ms"])


def macs(arguments: dict[str, Any], layer: Layer | None = None) -> int | None:
    """Count the MACs from the shapes in a profile event. None if they do not suffice: prepacked weights are missing there.

    With ``layer``, use its weight and the spatial size of the output, which ignores the padded channels.
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
    """Return whether the event has all operands that the formula needs, in their places."""
    if op in PRODUCTS:
        return True  # needs only the first operand and the output
    if op in ("Conv", "ConvInteger", "ConvTranspose"):
        return len(inputs) > 1 and len(inputs[1]) == len(output)
    if op == "QLinearConv":
        return len(inputs) > 7 and len(inputs[3]) == len(output)
    if op in ("LSTM", "GRU", "RNN"):
        x, *rest = inputs
        return len(rest) > 1 and [len(s) for s in rest[:2]] == [3, 3] and rest[0][:2] == rest[1][:2] and x[2] == rest[0][2]
    return op == "Attention" and all(len(s) == 4 for s in inputs[:3])
