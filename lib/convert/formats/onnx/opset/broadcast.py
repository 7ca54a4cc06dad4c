"""Broadcasting before opset 7, said as numpy says it: ``broadcast`` and ``axis`` of arithmetic go.

onnx's converter drops ``axis`` (1.23), so a bias of the channels would be added along the width, or to nothing. No
tool here nor onnxruntime knows the old form.
"""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto, TypeProto, helper

from lib.convert.formats.onnx.opset.graph import Graph, Refused, attribute, set_attribute, subgraphs
from lib.onnx_model.functions import all_nodes

FIRST = 7  # the opset that broadcasts as numpy does
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Greater", "Less", "Equal"}
UNKNOWN = {"And", "Or", "Xor", "Greater", "Less", "Equal"}  # to onnx's converter at this step, though it has nothing to do
HIDDEN = "hidden"  # a domain of nobody, whose operators it leaves alone


def hide(model: ModelProto) -> None:
    """Puts ``UNKNOWN`` operators out of onnx's converter's sight; ``shown`` brings them back."""
    nodes = [n for n in all_nodes(model.graph.node) if n.op_type in UNKNOWN and n.domain in ("", "ai.onnx")]
    for node in nodes:
        node.domain = HIDDEN
    if nodes:
        model.opset_import.append(helper.make_opsetid(HIDDEN, 1))


def shown(model: ModelProto) -> ModelProto:
    for node in all_nodes(model.graph.node):
        if node.domain == HIDDEN:
            node.domain = ""
    imports = [o for o in model.opset_import if o.domain != HIDDEN]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return model


def plain(proto: GraphProto, types: dict[str, TypeProto], outer: Graph | None = None) -> None:
    """Rewrites ``proto``, of opset 6 or older, in place. Raises Refused where a rank is not known."""
    graph, nodes = Graph(proto, types, outer), []
    for node in proto.node:
        for inner in subgraphs(node):
            plain(inner, types, graph)
        if node.op_type in ARITHMETIC and node.domain in ("", "ai.onnx"):
            nodes += _aligned(node, graph)
        nodes.append(node)
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.node[:]
    proto.node.extend(nodes)


def _aligned(node: NodeProto, graph: Graph) -> list[NodeProto]:
    """The second input's first dimension is the first input's ``axis``: ones follow where it is too short."""
    axis, broadcast = attribute(node, "axis"), attribute(node, "broadcast", 0)
    for name in ("axis", "broadcast", "consumed_inputs"):
        set_attribute(node, name, None)
    if not broadcast or axis is None:  # equal shapes, or the last dimensions fit
        return []
    try:
        of_first, of_second = graph.rank(node.input[0]), graph.rank(node.input[1])
    except Refused as error:
        raise Refused(f"the node {(node.name or node.output[0])[:100]!r} broadcasts along an axis, and {error}") from None
    missing = of_first - axis % max(of_first, 1) - of_second
    if missing <= 0:
        return []
    name = graph.name("aligned")
    axes = list(range(of_second, of_second + missing))
    unsqueeze = helper.make_node("Unsqueeze", [node.input[1]], [name], graph.name("unsqueeze"), axes=axes)
    node.input[1] = name
    return [unsqueeze]
