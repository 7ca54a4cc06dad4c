"""The check of an ONNX source: faults are named in words about the file, before any tool; what runs, passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.convert.formats.onnx.check import check
from lib.errors import InvalidFile
from tests.convert import models

F32, BOOL = TensorProto.FLOAT, TensorProto.BOOL


def unchecked(nodes: list, outputs: list | None = None, weights: dict | None = None, **imports: int) -> ModelProto:
    """``x`` [n, 4] -> ``y`` [n, 4] as it stands."""
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in (weights or {}).items()]
    infos = (
        [helper.make_tensor_value_info("x", F32, ["n", 4])],
        [helper.make_tensor_value_info(*o) for o in outputs or [("y", F32, ["n", 4])]],
    )
    graph = helper.make_graph(nodes, "odd", *infos, held)
    opsets = [helper.make_opsetid(domain, version) for domain, version in ({"": 17} | imports).items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def branches(then: list, otherwise: list) -> list:
    """An If on the sum of ``x``."""
    graphs = {}
    for name, nodes in (("then_branch", then), ("else_branch", otherwise)):
        out = helper.make_tensor_value_info(nodes[-1].output[0], F32, None)
        graphs[name] = helper.make_graph(nodes, name, [], [out])
    return [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["more"]),
        helper.make_node("If", ["more"], ["y"], **graphs),
    ]


def function(kind: str) -> ModelProto:
    body = [helper.make_node(kind, ["a"], ["b"], domain="else.where")]
    model = unchecked([helper.make_node("Layer", ["x"], ["y"], domain="own")], own=1)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("else.where", 1)]
    model.functions.append(helper.make_function("own", "Layer", ["a"], ["b"], body, imports))
    return model


def short_weights() -> ModelProto:
    model = models.mlp()
    model.graph.initializer[2].raw_data = model.graph.initializer[2].raw_data[:-8]
    return model


RELU, NEG = helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])
ODD = helper.make_node("Odd", ["x"], ["b"], domain="else.where")
FAULTS = {
    "unknown operator": (unchecked([helper.make_node("Rleu", ["x"], ["y"])]), "operator Rleu of ai.onnx"),
    "in a branch": (
        unchecked(branches([helper.make_node("Neg", ["x"], ["a"])], [ODD]), weights={"zero": np.float32(0)}),
        r"operator Odd of the domain 'else.where' \(first at 'b'\)",
    ),
    "in a function": (function("Odd"), "operator Odd of the domain 'else.where'"),
    "newer than its opset": (unchecked([helper.make_node("Gelu", ["x"], ["y"])]), "Gelu is not an operator of ai.onnx 17"),
    "a value made twice": (unchecked([RELU, NEG]), "The value 'y' is defined twice"),
    "a value of nowhere": (unchecked([helper.make_node("Add", ["x", "z"], ["y"])]), "reads 'z', which is never defined"),
    "an output of nowhere": (unchecked([RELU], [("z", F32, ["n", 4])]), "Nothing in the model computes the output 'z'"),
    "a circle": (
        unchecked([helper.make_node("Add", ["x", "y"], ["a"]), helper.make_node("Neg", ["a"], ["y"])]),
        "onnxruntime refuses this model before any conversion",
    ),
    "a wrong rank": (
        unchecked([RELU], [("y", F32, [1, 2, 3])]),
        r"'y' as float32 \[1, 2, 3\], but its operators give float32 \[n, 4\]",
    ),
    "a wrong size": (unchecked([RELU], [("y", F32, ["n", 5])]), r"'y' as float32 \[n, 5\]"),
    "a wrong dtype": (unchecked([RELU], [("y", BOOL, ["n", 4])]), "onnxruntime refuses|as bool"),
    "sizes that do not fit": (
        unchecked([helper.make_node("MatMul", ["x", "w"], ["y"])], weights={"w": np.zeros((3, 4), np.float32)}),
        "onnxruntime refuses this model before any conversion",
    ),
    "two opsets of one domain": (unchecked([RELU], **{"ai.onnx": 16}), "imports ai.onnx at versions 17 and 16"),
    "a newer opset": (unchecked([RELU], **{"": 99}), "The model uses opset 99; the newest"),
    "too few bytes of a weight": (short_weights(), "needs .* bytes of values, but there are"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, tmp_path: Path) -> None:
    model, words = FAULTS[name]
    with pytest.raises(InvalidFile, match=words) as caught:
        check(models.save(model, tmp_path / "s"))
    assert str(tmp_path) not in caught.value.message and "\n" not in caught.value.message


def without_default_domain() -> ModelProto:
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0] * 4, scale=[2.0] * 4)
    model = unchecked([node], **{"ai.onnx.ml": 1})
    del model.opset_import[0]
    return model


def stale() -> ModelProto:
    model = models.mlp()
    model.graph.value_info.append(helper.make_tensor_value_info("h0", F32, [7, 7, 7]))
    return model


SOUND = {
    "constants of one name": unchecked(
        [
            helper.make_node("Constant", [], ["a"], "it", value_float=1.0),
            helper.make_node("Constant", [], ["b"], "it", value_float=2.0),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Add", ["x", "c"], ["y"]),
        ]
    ),
    "nodes in another order": unchecked([helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]),
    "no import of ai.onnx": without_default_domain(),
    "a stale note of a shape": stale(),
    "operators of onnxruntime": unchecked(
        [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], **{"com.microsoft": 1}
    ),
    "an own function": function("Odd"),
    "an output without a shape": unchecked([RELU], [("y", F32, None)]),
    "a fixed output of a free input": unchecked([RELU], [("y", F32, [1, 4])]),
    "opset 6": unchecked(
        [helper.make_node("Add", ["x", "w"], ["y"], axis=1, broadcast=1)], weights={"w": np.ones(4, np.float32)}, **{"": 6}
    ),
}
SOUND["an own function"].functions[0].node[0].op_type = "Relu"
SOUND["an own function"].functions[0].node[0].domain = ""


@pytest.mark.parametrize("name", SOUND)
def test_what_runs_passes(name: str, tmp_path: Path) -> None:
    check(models.save(SOUND[name], tmp_path / "s"))


@pytest.mark.parametrize("make", [models.conv_net, models.mlp])
def test_external_data(make: object, tmp_path: Path) -> None:
    folder = models.save(make(), tmp_path / "s", save_as_external_data=True, location="w.bin", size_threshold=0)  # type: ignore[operator]
    check(folder)
    (folder / "w.bin").write_bytes(b"")
    with pytest.raises(InvalidFile):
        check(folder)
    assert onnx.load(folder / "model.onnx", load_external_data=False).graph.node
