"""Which outputs of a graph depend on no input: anchors, vocabularies, versions. Reads the structure only."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import ModelProto, NodeProto

from lib.onnx_model.functions import all_nodes

RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}


def constant_outputs(model: ModelProto) -> list[str]:
    """Names of the outputs that no input reaches, not even through a subgraph, and no random number."""
    graph = model.graph
    held = {t.name for t in graph.initializer}
    reached = {v.name for v in graph.input if v.name not in held}
    for node in graph.node:  # in topological order
        inside = list(all_nodes([node]))
        if any(n.op_type in RANDOM for n in inside) or any(name in reached for n in inside for name in _read(n)):
            reached.update(node.output)
    return [v.name for v in graph.output if v.name not in reached]


def _read(node: NodeProto) -> Iterator[str]:
    """What a node reads, and what its subgraphs hand out as it is."""
    yield from node.input
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from (v.name for v in graph.output)
