"""Write the files for a graph viewer: the model itself, its skeleton, or a collapsed view of a big graph."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from lib.onnx_inspect.graph import free_values
from lib.onnx_model.open import Model, tensors

WHOLE = 32 << 20  # bytes; a bigger file is written without its weights
MAX_NODES = 3000  # Netron is slow with more
GROUPS = 400  # maximum nodes of a collapsed view


def write(model: Model, folder: Path) -> None:
    """Write ``graph.onnx``, and ``collapsed.onnx`` if the graph has more than 3,000 nodes."""
    if model.externals or model.missing or model.path.stat().st_size > WHOLE:
        copy = ModelProto()
        copy.CopyFrom(model.proto)
        for _, tensor in tensors(copy):
            if tensor.data_location == TensorProto.EXTERNAL:
                tensor.ClearField("external_data")  # the viewer would request that file from our server
                tensor.ClearField("data_location")
        (folder / "graph.onnx").write_bytes(copy.SerializeToString())
    else:
        shutil.copyfile(model.path, folder / "graph.onnx")
    if len(model.proto.graph.node) > MAX_NODES:
        (folder / "collapsed.onnx").write_bytes(collapsed(model.proto).SerializeToString())


def collapsed(model: ModelProto) -> ModelProto:
    """Merge consecutive nodes of one module into one node. In a sorted graph this cannot create a cycle.

    The module is the node's name, cut at the depth of "/" or "." that gives at most 400 groups. If no depth does, runs
    of equal length are merged.
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
    weights = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    last: dict[str, int] = {name: k for k, (_, run) in enumerate(runs) for n in run for name in _reads(n)}
    outputs = {v.name for v in graph.output}
    view = GraphProto(name=graph.name, input=[v for v in graph.input if v.name not in weights], output=graph.output)
    for k, (key, run) in enumerate(runs):
        produced = {name for n in run for name in n.output if name}
        consumed = dict.fromkeys(i for n in run for i in _reads(n) if i and i not in produced and i not in weights)
        exported = [name for n in run for name in n.output if name and (last.get(name, -1) > k or name in outputs)]
        short = "/".join(key.split("/")[-2:])[-18:] or "top"  # viewers truncate long labels; the name is complete
        label = f"{short} ×{len(run)}" if len(run) > 1 else run[0].op_type
        view.node.append(helper.make_node(label, list(consumed), exported, name=key or f"run {k}", domain="collapsed"))
    return helper.make_model(view, opset_imports=[*model.opset_import, helper.make_opsetid("collapsed", 1)])


def _reads(node: NodeProto) -> list[str]:
    """Return the node's inputs and the outer values that its subgraphs read."""
    inner = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
    return [*node.input, *sorted(set().union(*map(free_values, inner)))]
