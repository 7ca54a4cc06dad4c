"""The file that a graph viewer is given: the model itself, its skeleton, or a collapsed view of a big graph."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from lib.onnx_inspect.graph import free_values
from lib.onnx_model.open import Model, tensors

WHOLE = 32 << 20  # bytes; a bigger file goes to the viewer without its weights
MAX_NODES = 3000  # nodes; Netron is slow above
GROUPS = 400  # nodes of a collapsed view at most


def write(model: Model, folder: Path) -> None:
    """``graph.onnx``, and ``collapsed.onnx`` where the graph has more than 3,000 nodes."""
    if model.externals or model.missing or model.path.stat().st_size > WHOLE:
        copy = ModelProto()
        copy.CopyFrom(model.proto)
        for _, tensor in tensors(copy):
            if tensor.data_location == TensorProto.EXTERNAL:
                tensor.ClearField("external_data")  # the viewer would ask our server for a file of that name
                tensor.ClearField("data_location")
        (folder / "graph.onnx").write_bytes(copy.SerializeToString())
    else:
        shutil.copyfile(model.path, folder / "graph.onnx")
    if len(model.proto.graph.node) > MAX_NODES:
        (folder / "collapsed.onnx").write_bytes(collapsed(model.proto).SerializeToString())


def collapsed(model: ModelProto) -> ModelProto:
    """Neighbouring nodes of one module as one node. Neighbours in a sorted graph cannot form a cycle.

    The module is the node's name up to a depth of its "/" or "." that leaves at most 400 groups; where
    names tell nothing, equal runs of nodes.
    """
    graph, nodes = model.graph, list(model.graph.node)
    paths = [n.name.replace(".", "/").strip("/").split("/")[:-1] for n in nodes]
    runs: list[tuple[str, list[NodeProto]]] = []
    for depth in range(8, 0, -1):
        keyed = [("/".join(path[:depth]), node) for path, node in zip(paths, nodes, strict=True)]
        runs = [(key, [n for _, n in group]) for key, group in groupby(keyed, key=lambda pair: pair[0])]
        if len(runs) <= GROUPS:
            break
    if not 1 < len(runs) <= GROUPS:
        step = -(-len(nodes) // GROUPS)
        runs = [(f"nodes {k} to {min(k + step, len(nodes)) - 1}", nodes[k : k + step]) for k in range(0, len(nodes), step)]
    held = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    last: dict[str, int] = {name: k for k, (_, run) in enumerate(runs) for n in run for name in _reads(n)}
    outputs = {v.name for v in graph.output}
    out = GraphProto(name=graph.name, input=[v for v in graph.input if v.name not in held], output=graph.output)
    for k, (key, run) in enumerate(runs):
        made = {name for n in run for name in n.output if name}
        read = dict.fromkeys(i for n in run for i in _reads(n) if i and i not in made and i not in held)
        kept = [name for n in run for name in n.output if name and (last.get(name, -1) > k or name in outputs)]
        short = "/".join(key.split("/")[-2:])[-18:] or "top"  # a viewer cuts long ones in the middle; the name has it all
        label = f"{short} ×{len(run)}" if len(run) > 1 else run[0].op_type
        out.node.append(helper.make_node(label, list(read), kept, name=key or f"run {k}", domain="collapsed"))
    return helper.make_model(out, opset_imports=[*model.opset_import, helper.make_opsetid("collapsed", 1)])


def _reads(node: NodeProto) -> list[str]:
    """Its inputs, and what its subgraphs read from outside."""
    inner = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
    return [*node.input, *sorted(set().union(*map(free_values, inner)))]
