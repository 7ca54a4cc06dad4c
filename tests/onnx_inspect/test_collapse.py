"""The collapsed view of a big graph, and what a viewer is given of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.onnx_inspect import collapse
from lib.onnx_inspect.examples import cnn
from tests.onnx_inspect.make import opened

BLOCKS, INNER = 100, 40
PARTS = ("norm", "attention", "attention", "mlp")


def module(k: int) -> str:
    return f"/encoder/layer.{k // INNER}/{PARTS[k % INNER // 10]}/op_{k % INNER}"


def big(name: Callable[[int], str], count: int = BLOCKS * INNER, order: Callable[[int], int] = lambda k: k) -> ModelProto:
    """A chain of nodes with a skip connection over each block; ``order`` says which name a place gets."""
    nodes = []
    for k in range(count):
        inputs = [f"v{k - 1}" if k else "x", "w"]
        if k >= INNER and k % INNER == 0:
            inputs[1] = f"v{k - INNER}"
        nodes.append(helper.make_node("Add", inputs, [f"v{k}"], name(order(k))))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in ("x", f"v{count - 1}")]
    weights = [numpy_helper.from_array(np.zeros(4, np.float32), "w")]
    graph = helper.make_graph(nodes, "big", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)


def assert_runs_downhill(model: ModelProto) -> None:
    """Whatever a node reads has been made before: no cycle, nothing from nowhere, and the outputs are there."""
    there = {v.name for v in model.graph.input}
    for node in model.graph.node:
        assert set(node.input) <= there, node.name
        assert not set(node.output) & there
        there |= set(node.output)
    assert {v.name for v in model.graph.output} <= there
    onnx.checker.check_model(model)


NAMINGS: dict[str, tuple[Callable[[int], str], int]] = {
    "by module": (module, 3 * BLOCKS),
    "with dots": (lambda k: module(k)[1:].replace("/", "."), 3 * BLOCKS),
    "without names": (lambda k: "", collapse.GROUPS),
    "names that tell nothing": (lambda k: f"Add_{k}", collapse.GROUPS),
    "too many modules": (lambda k: f"/m{k}/op", collapse.GROUPS),
    "one module": (lambda k: f"/all/op{k}", collapse.GROUPS),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_4000_nodes_become_at_most_400(naming: str) -> None:
    name, groups = NAMINGS[naming]
    found = collapse.collapsed(big(name))
    assert len(found.graph.node) == groups <= 400
    assert_runs_downhill(found)


def test_modules_are_cut_where_they_fit() -> None:
    names = [n.name for n in collapse.collapsed(big(module)).graph.node]
    assert names[:3] == ["encoder/layer/0/norm", "encoder/layer/0/attention", "encoder/layer/0/mlp"]
    assert names[-1] == f"encoder/layer/{BLOCKS - 1}/mlp"


def test_labels_say_how_many_nodes_are_in_a_group() -> None:
    found = collapse.collapsed(big(module))
    assert [n.op_type.rsplit(" ", 1)[-1] for n in found.graph.node[:3]] == ["×10", "×20", "×10"]
    assert {n.domain for n in found.graph.node} == {"collapsed"}


def test_a_module_that_comes_back_makes_no_cycle() -> None:
    """Names that interleave: the two runs of a module stay two groups."""
    found = collapse.collapsed(big(module, order=lambda k: (k // 20 * 20 + 2000 * (k // 20 % 2)) % 4000 + k % 20))
    assert_runs_downhill(found)
    assert len(found.graph.node) <= 400


def test_skip_connections_stay() -> None:
    found = collapse.collapsed(big(module))
    firsts = [n for n in found.graph.node if n.name.endswith("/norm")][1:]
    assert all(len(n.input) == 2 for n in firsts)  # the last block's output, and the one before over the skip
    assert found.graph.input[0].name == "x" and not found.graph.initializer


def test_values_that_a_subgraph_captures_stay() -> None:
    model = big(module)
    inner = helper.make_graph(
        [helper.make_node("Identity", ["v5"], ["p"])], "inner", [], [helper.make_tensor_value_info("p", 1, ["n", 4])]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["branched"], "/last/branch", then_branch=inner, else_branch=inner)
    )
    model.graph.output.append(helper.make_tensor_value_info("branched", 1, ["n", 4]))
    found = collapse.collapsed(model)
    assert list(found.graph.node[-1].input) == ["v5"]
    assert_runs_downhill(found)


def test_what_a_viewer_is_given(tmp_path: Path) -> None:
    small = opened(cnn(), tmp_path / "small")
    collapse.write(small, tmp_path)
    assert (tmp_path / "graph.onnx").read_bytes() == small.path.read_bytes() and not (tmp_path / "collapsed.onnx").exists()
    collapse.write(opened(big(module), tmp_path / "big"), tmp_path)
    assert len(onnx.load(tmp_path / "collapsed.onnx").graph.node) == 300
    assert len(onnx.load(tmp_path / "graph.onnx").graph.node) == 4000


@pytest.mark.parametrize("external", [True, False])
def test_a_big_model_goes_to_the_viewer_without_weights(
    external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "WHOLE", 10_000)
    files = {}
    model = cnn()
    if external:
        onnx.save(model, tmp_path / "saved.onnx", save_as_external_data=True, location="w.bin", size_threshold=2000)
        model, files = onnx.load(tmp_path / "saved.onnx", load_external_data=False), {"w.bin": tmp_path / "w.bin"}
    collapse.write(opened(model, tmp_path / "m", files), tmp_path)
    shown = onnx.load(tmp_path / "graph.onnx")  # would fail on a reference to a file that is not there
    assert (tmp_path / "graph.onnx").stat().st_size < 10_000
    assert [list(t.dims) for t in shown.graph.initializer] == [list(t.dims) for t in cnn().graph.initializer]
    assert shown.graph.node == cnn().graph.node
