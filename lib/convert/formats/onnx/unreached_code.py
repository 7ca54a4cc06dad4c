"""Code of an ONNX model that no input has run: branches of If, also inside others, and bodies of Loop.

Every If is given one more output that says which branch was taken, and hands on what is inside of it; onnxruntime then
tells for each input. What the sizes of the inputs alone decide is not asked of the values.
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
# branches of nothing else choose a shape, and exporters write many
SHAPES = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Constant", "Cast", "Transpose", "Shape", "Gather"}
SIZES = {"Shape", "Size", "Constant"}  # what stands behind them are sizes, no values
BRANCHES = {"then_branch": 1, "else_branch": 2}
MAX_SENTENCES = 3  # sentences


@dataclass(slots=True)
class _Probes:
    """``nodes``: a flag's number -> its If or Loop, and whether that stands in the main graph."""

    nodes: list[tuple[NodeProto, bool]] = field(default_factory=list)

    def expose(self, graph: GraphProto, main: bool = True) -> list[tuple[str, int]]:
        """Adds the flags of ``graph``; (name of a whole number in its scope, number of its flag) for each.

        An If's flag is 1 or 2 for the branch taken, a Loop's how often it ran; 0 where the code was not reached.
        """
        found: list[tuple[str, int]] = []
        for node in list(graph.node):
            branches = {a.name: a.g for a in node.attribute if a.name in BRANCHES}
            if node.op_type == "If" and len(branches) == 2:
                found += self._of_if(node, branches, main)
            elif node.op_type == "Loop" and main:
                found.append(self._of_loop(graph, node))
        return found

    def _of_if(self, node: NodeProto, branches: dict[str, GraphProto], main: bool) -> list[tuple[str, int]]:
        number = len(self.nodes)
        original = NodeProto()
        original.CopyFrom(node)
        self.nodes.append((original, main))
        inside = {name: self.expose(branches[name], main=False) for name in BRANCHES}
        flags = [number, *(key for some in inside.values() for _, key in some)]
        for name, graph in branches.items():
            own = {key: value for value, key in inside[name]}
            for key in flags:
                if key == number or key not in own:
                    value = BRANCHES[name] if key == number else 0
                    own[key] = f"mw_flag_{key}_{number}_{name}"
                    held = numpy_helper.from_array(np.array(value, np.int64))
                    graph.node.append(helper.make_node("Constant", [], [own[key]], value=held))
                graph.output.append(helper.make_tensor_value_info(own[key], TensorProto.INT64, []))
        out = [(f"mw_flag_{key}_of_{number}", key) for key in flags]
        node.output.extend(name for name, _ in out)
        return out

    def _of_loop(self, graph: GraphProto, node: NodeProto) -> tuple[str, int]:
        number = len(self.nodes)
        original = NodeProto()
        original.CopyFrom(node)
        self.nodes.append((original, True))
        body = next(a.g for a in node.attribute if a.name == "body")
        each, all_, count = (f"mw_loop_{number}_{part}" for part in ("each", "all", "count"))
        one = numpy_helper.from_array(np.array(1, np.int64))
        body.node.append(helper.make_node("Constant", [], [each], value=one))
        body.output.append(helper.make_tensor_value_info(each, TensorProto.INT64, []))
        node.output.append(all_)
        graph.node.append(helper.make_node("Size", [all_], [count]))
        return count, number


def unseen(model: ModelProto, cases: list[Arrays]) -> list[str]:
    """Sentences on what none of ``cases`` runs and what computes something; model and cases stay as they are."""
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
    known, by_values = KnownValues(model), _Values(model)
    out = []
    for key, (node, main) in enumerate(probes.nodes):
        found = seen.get(key, set())
        value = known.of(node.input[0]) if main and node.op_type == "If" else None
        decided = value is not None and bool(value) and None not in value
        if decided or not any(by_values.reach(name) for name in node.input[:2] if name):
            continue
        out += list(_missing(node, found, reached=main or bool(found - {0})))
    return out[:MAX_SENTENCES]


def _missing(node: NodeProto, found: set[int], *, reached: bool) -> Iterator[str]:
    called = (node.name or node.output[0])[:80]
    if node.op_type == "Loop":
        if not found - {0}:
            yield f"No input that was made up enters the body of Loop {called!r}."
        return
    for attribute in node.attribute:
        number = BRANCHES.get(attribute.name)
        if number and reached and number not in found and _computes(attribute.g):
            branch = attribute.name.removesuffix("_branch")
            yield f"No input that was made up enters the {branch} branch of If {called!r}."


def _computes(graph: GraphProto) -> bool:
    return any(node.op_type not in SHAPES for node in graph.node)


class _Values:
    """Whether a value depends on the values of the inputs, not on their sizes alone."""

    def __init__(self, model: ModelProto) -> None:
        self._makers = {name: node for node in all_nodes(model.graph.node) for name in node.output}
        self._held = {t.name for t in model.graph.initializer}
        self._known: dict[str, bool] = {}

    def reach(self, name: str) -> bool:
        todo, seen = [name], {name}
        while todo:
            now = todo.pop()
            node = self._makers.get(now)
            if node is None:
                if now not in self._held and not now.startswith("mw_"):
                    return True  # an input, of the graph or of a loop's body
                continue
            if node.op_type in SIZES:
                continue
            for other in node.input:
                if other and other not in seen:
                    seen.add(other)
                    todo.append(other)
        return False
