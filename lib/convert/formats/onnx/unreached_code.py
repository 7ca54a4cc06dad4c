"""Finds code in an ONNX model that no input has run: branches of If, nested ones included, and bodies of Loop.

Every If gets extra outputs: a flag for the branch taken, and the flags of the Ifs nested in it. onnxruntime then
reports them for each input. Conditions that depend only on input shapes are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lib.convert.formats.onnx.blind_spots import run_probe
from lib.onnx_model.functions import all_nodes
from lib.onnx_model.known_values import KnownValues

Arrays = dict[str, np.ndarray]
# a branch with only these operators computes nothing, it chooses a shape; exporters write many of them
SHAPES = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Constant", "Cast", "Transpose", "Shape", "Gather"}
SIZES = {"Shape", "Size", "Constant"}  # their outputs do not depend on the values of their inputs
BRANCHES = {"then_branch": 1, "else_branch": 2}
MAX_SENTENCES = 3


@dataclass(slots=True)
class _Probes:
    """Adds flag outputs to a graph. ``nodes[number]``: the If or Loop of a flag, and whether it is in the main graph."""

    nodes: list[tuple[NodeProto, bool]] = field(default_factory=list)

    def expose(self, graph: GraphProto, main: bool = True) -> list[tuple[str, int]]:
        """Adds the flags of ``graph``; returns (name of an int64 scalar in its scope, flag number) for each.

        An If's flag is 1 or 2 for the branch taken, a Loop's is its iteration count; 0 if the code was not reached.
        """
        flags: list[tuple[str, int]] = []
        for node in list(graph.node):
            branches = {a.name: a.g for a in node.attribute if a.name in BRANCHES}
            if node.op_type == "If" and len(branches) == 2:
                flags += self._of_if(node, branches, main)
            elif node.op_type == "Loop" and main:
                flags.append(self._of_loop(graph, node))
        return flags

    def _of_if(self, node: NodeProto, branches: dict[str, GraphProto], main: bool) -> list[tuple[str, int]]:
        """Adds the flag outputs of an If and of the Ifs in its branches; both branches return every flag, 0 by default."""
        number = len(self.nodes)
        original = NodeProto()
        original.CopyFrom(node)
        self.nodes.append((original, main))
        nested = {name: self.expose(branches[name], main=False) for name in BRANCHES}
        flags = [number, *(key for nested_flags in nested.values() for _, key in nested_flags)]
        for name, graph in branches.items():
            names = {key: value for value, key in nested[name]}
            for key in flags:
                if key == number or key not in names:
                    value = BRANCHES[name] if key == number else 0
                    names[key] = f"mw_flag_{key}_{number}_{name}"
                    constant = numpy_helper.from_array(np.array(value, np.int64))
                    graph.node.append(helper.make_node("Constant", [], [names[key]], value=constant))
                graph.output.append(helper.make_tensor_value_info(names[key], TensorProto.INT64, []))
        outputs = [(f"mw_flag_{key}_of_{number}", key) for key in flags]
        node.output.extend(name for name, _ in outputs)
        return outputs

    def _of_loop(self, graph: GraphProto, node: NodeProto) -> tuple[str, int]:
        """Adds a scan output to the Loop and a node that counts its elements, one per iteration."""
        number = len(self.nodes)
        original = NodeProto()
        original.CopyFrom(node)
        self.nodes.append((original, True))
        body = next(a.g for a in node.attribute if a.name == "body")
        each, stacked, count = (f"mw_loop_{number}_{part}" for part in ("each", "all", "count"))
        one = numpy_helper.from_array(np.array(1, np.int64))
        body.node.append(helper.make_node("Constant", [], [each], value=one))
        body.output.append(helper.make_tensor_value_info(each, TensorProto.INT64, []))
        node.output.append(stacked)
        graph.node.append(helper.make_node("Size", [stacked], [count]))
        return count, number


def unseen(model: ModelProto, cases: list[Arrays]) -> list[str]:
    """Returns warnings about branches and loop bodies that compute something and that none of ``cases`` runs.

    Does not modify ``model`` or ``cases``.
    """
    if not any(n.op_type in ("If", "Loop") for n in all_nodes(model.graph.node)):
        return []
    probe, probes = ModelProto(), _Probes()
    probe.CopyFrom(model)
    flags = probes.expose(probe.graph)
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT64, []) for name, _ in flags)
    seen: dict[int, set[int]] = {key: set() for _, key in flags}
    for values in run_probe(probe, cases, [name for name, _ in flags]):
        for (_, key), value in zip(flags, values, strict=True):
            seen[key].add(int(np.asarray(value).reshape(-1)[0]))
    known_values, by_values = KnownValues(model), _Values(model)
    sentences = []
    for key, (node, main) in enumerate(probes.nodes):
        flag_values = seen.get(key, set())
        value = known_values.of(node.input[0]) if main and node.op_type == "If" else None
        is_static = value is not None and bool(value) and None not in value
        if is_static or not any(by_values.reach(name) for name in node.input[:2] if name):
            continue
        sentences += list(_missing(node, flag_values, reached=main or bool(flag_values - {0})))
    return sentences[:MAX_SENTENCES]


def _missing(node: NodeProto, found: set[int], *, reached: bool) -> Iterator[str]:
    label = (node.name or node.output[0])[:80]
    if node.op_type == "Loop":
        if not found - {0}:
            yield f"No made-up input enters the body of Loop {label!r}."
        return
    for attribute in node.attribute:
        number = BRANCHES.get(attribute.name)
        if number and reached and number not in found and _computes(attribute.g):
            branch = attribute.name.removesuffix("_branch")
            yield f"No made-up input enters the {branch} branch of If {label!r}."


def _computes(graph: GraphProto) -> bool:
    """Returns whether a branch does more than choose a shape."""
    return any(node.op_type not in SHAPES for node in graph.node)


class _Values:
    """Checks whether a value depends on the values of the inputs, not only on their shapes."""

    def __init__(self, model: ModelProto) -> None:
        self._makers = {name: node for node in all_nodes(model.graph.node) for name in node.output}
        self._held = {t.name for t in model.graph.initializer}
        self._known: dict[str, bool] = {}

    def reach(self, name: str) -> bool:
        """Returns whether ``name`` depends on the values of an input."""
        pending, seen = [name], {name}
        while pending:
            current = pending.pop()
            node = self._makers.get(current)
            if node is None:
                if current not in self._held and not current.startswith("mw_"):
                    return True  # an input of the graph or of a loop body
                continue
            if node.op_type in SIZES:
                continue
            for upstream in node.input:
                if upstream and upstream not in seen:
                    seen.add(upstream)
                    pending.append(upstream)
        return False
