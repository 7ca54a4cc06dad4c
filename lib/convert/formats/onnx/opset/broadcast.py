"""Rewrites the explicit broadcasting of opsets below 7 (attributes ``broadcast`` and ``axis``) as numpy broadcasting.

onnx's version converter (1.23) drops ``axis``, so a per-channel bias would be added along the width, or fail to
broadcast. Neither onnxruntime nor any tool used here supports the old form.
"""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto, TypeProto, helper

from lib.convert.formats.onnx.opset.graph import Graph, Refused, attribute, set_attribute, subgraphs
from lib.onnx_model.functions import all_nodes

FIRST = 7  # first opset with numpy broadcasting
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Greater", "Less", "Equal"}
# onnx's converter has no adapter for these at this step, although nothing needs to change
UNKNOWN = {"And", "Or", "Xor", "Greater", "Less", "Equal"}
HIDDEN = "hidden"  # a placeholder domain, whose operators the converter leaves alone


def hide(model: ModelProto) -> None:
    """Moves ``UNKNOWN`` operators to a placeholder domain, so that onnx's converter skips them; ``shown`` undoes it."""
    nodes = [n for n in all_nodes(model.graph.node) if n.op_type in UNKNOWN and n.domain in ("", "ai.onnx")]
    for node in nodes:
        node.domain = HIDDEN
    if nodes:
        model.opset_import.append(helper.make_opsetid(HIDDEN, 1))


def shown(model: ModelProto) -> ModelProto:
    """Undoes ``hide`` in place and returns ``model``."""
    for node in all_nodes(model.graph.node):
        if node.domain == HIDDEN:
            node.domain = ""
    imports = [o for o in model.opset_import if o.domain != HIDDEN]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return model


def plain(proto: GraphProto, types: dict[str, TypeProto], outer: Graph | None = None) -> None:
    """Rewrites the graph ``proto`` of opset 6 or older in place. Raises Refused if a needed rank is unknown."""
    graph, nodes = Graph(proto, types, outer), []
    for node in proto.node:
        for subgraph in subgraphs(node):
            plain(subgraph, types, graph)
        if node.op_type in ARITHMETIC and node.domain in ("", "ai.onnx"):
            nodes += _aligned(node, graph)
        nodes.append(node)
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.node[:]
    proto.node.extend(nodes)


def _aligned(node: NodeProto, graph: Graph) -> list[NodeProto]:
    """Drops the attributes and returns an Unsqueeze of the second input where numpy broadcasting needs one.

    The old ``axis`` aligns the second input's first dimension with that axis of the first input, so trailing
    dimensions of size 1 are added.
    """
    axis, broadcast = attribute(node, "axis"), attribute(node, "broadcast", 0)
    for name in ("axis", "broadcast", "consumed_inputs"):
        set_attribute(node, name, None)
    if not broadcast or axis is None:  # equal shapes, or aligned at the last dimension already
        return []
    try:
        first_rank, second_rank = graph.rank(node.input[0]), graph.rank(node.input[1])
    except Refused as error:
        raise Refused(f"the node {(node.name or node.output[0])[:100]!r} broadcasts along an axis, and {error}") from None
    missing = first_rank - axis % max(first_rank, 1) - second_rank
    if missing <= 0:
        return []
    name = graph.name("aligned")
    axes = list(range(second_rank, second_rank + missing))
    unsqueeze = helper.make_node("Unsqueeze", [node.input[1]], [name], graph.name("unsqueeze"), axes=axes)
    node.input[1] = name
    return [unsqueeze]
