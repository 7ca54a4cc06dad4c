"""Planted errors are found at their node, by name and without names, all at once and by bisection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from lib.convert.core import arrays
from lib.convert.formats.onnx import first_difference as diverge
from lib.convert.worker import entrypoints
from tests.convert import models
from tests.convert.edge_run import convert


def flipped(model: ModelProto, weight: str) -> ModelProto:
    """The largest number of one weight with its sign changed."""
    tensor = next(t for t in model.graph.initializer if t.name == weight)
    value = numpy_helper.to_array(tensor).copy()
    value.reshape(-1)[np.abs(value).argmax()] *= -1
    tensor.CopyFrom(numpy_helper.from_array(value, weight))
    return model


def renamed(model: ModelProto) -> ModelProto:
    """Every tensor but inputs, outputs and weights under another name, nodes without names."""
    kept = {v.name for v in (*model.graph.input, *model.graph.output)} | {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [n if n in kept else f"other/{n}" for n in names]
    return model


def found(a: ModelProto, b: ModelProto, tmp_path: Path, **given: object) -> dict | None:
    folders = models.save(a, tmp_path / "a"), models.save(b, tmp_path / "b")
    return diverge.first(*folders, models.inputs(a, batch=2, sequence=5), **given)


@pytest.fixture(params=["at once", "bisected"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "bisected":
        monkeypatch.setattr(diverge, "AT_ONCE", 0)
    return request.param


@pytest.mark.parametrize("make", [models.conv_net, models.mlp, models.attention], ids=lambda m: m.__name__)
@pytest.mark.parametrize("change", [lambda m: m, renamed], ids=["same names", "other names"])
def test_equal_models_do_not_part(make: Callable, change: Callable, way: str, tmp_path: Path) -> None:
    assert found(make(), change(make()), tmp_path) is None


@pytest.mark.parametrize(
    ("make", "weight", "op", "output"),
    [
        (models.conv_net, "conv2.weight", "Conv", "c2"),
        (models.conv_net, "bn1.weight", "BatchNormalization", "b1"),
        (models.conv_net, "fc.weight", "Gemm", "scores"),
        (models.mlp, "w1", "MatMul", "m1"),
        (models.attention, "wv", "MatMul", "v"),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
@pytest.mark.parametrize("change", [lambda m: m, renamed], ids=["same names", "other names"])
def test_a_flipped_weight(
    make: Callable, weight: str, op: str, output: str, change: Callable, way: str, tmp_path: Path
) -> None:
    if way == "bisected" and make is models.attention:
        pytest.skip("v is no ancestor of the scores beside it, so not all after it differ")
    answer = found(make(), change(flipped(make(), weight)), tmp_path)
    assert answer is not None and answer["op"] == op
    assert answer["output"].removeprefix("other/") == output
    assert answer["max_abs_error"] > 0 and answer["relative_error"] > diverge.TOLERANCE and answer["compared"] > 1


def test_a_changed_attribute(way: str, tmp_path: Path) -> None:
    wrong = models.conv_net()
    pool = next(n for n in wrong.graph.node if n.name == "average")
    pool.op_type = "MaxPool"
    answer = found(models.conv_net(), wrong, tmp_path)
    assert answer is not None and (answer["node"], answer["op"], answer["output"]) == ("average", "MaxPool", "g")


def test_a_removed_node_shows_at_the_one_after_it(way: str, tmp_path: Path) -> None:
    wrong = models.conv_net()
    relu = next(n for n in wrong.graph.node if n.name == "relu2")
    next(n for n in wrong.graph.node if n.name == "average").input[0] = relu.input[0]
    wrong.graph.node.remove(relu)
    answer = found(models.conv_net(), wrong, tmp_path)
    assert answer is not None and (answer["node"], answer["output"]) == ("average", "g")


def test_a_name_on_another_value_is_no_difference(tmp_path: Path) -> None:
    """Fusing gives b1's values the name c1 in the target: c1 differs, and what comes of it does not."""
    convert("onnx", "onnx-slim", models.save(models.conv_net(), tmp_path / "a"), tmp_path / "slim")
    slim = onnx.load(tmp_path / "slim" / "model.onnx")
    for node in slim.graph.node:
        for names in (node.input, node.output):
            names[:] = ["c1" if n == "b1" else n for n in names]
    given = models.inputs(models.conv_net())
    assert diverge.first(tmp_path / "a", models.save(slim, tmp_path / "b"), given) is None
    wrong = models.save(flipped(slim, "fc.weight"), tmp_path / "c")
    answer = diverge.first(tmp_path / "a", wrong, given)
    assert answer is not None and answer["output"] == "scores"


def test_float16_against_float32(tmp_path: Path) -> None:
    convert("onnx", "onnx-fp16", models.save(models.mlp(), tmp_path / "a"), tmp_path / "b", keep_io_types=False)
    given = models.inputs(models.mlp())
    assert diverge.first(tmp_path / "a", tmp_path / "b", given, tolerance=1e-2) is None
    wrong = onnx.load(tmp_path / "b" / "model.onnx")
    flipped(wrong, "w1")
    answer = diverge.first(tmp_path / "a", models.save(wrong, tmp_path / "c"), given, tolerance=1e-2)
    assert answer is not None and answer["output"] == "m1"


def test_an_input_that_the_target_has_dropped_is_not_fed_to_it(tmp_path: Path) -> None:
    ours, wrong = models.mlp(), flipped(models.mlp(), "w1")
    ours.graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info("unused", onnx.TensorProto.FLOAT, [2]))
    folders = models.save(ours, tmp_path / "a"), models.save(wrong, tmp_path / "b")
    given = models.inputs(models.mlp()) | {"unused": np.zeros(2, np.float32)}
    answer = diverge.first(*folders, given)
    assert answer is not None and answer["output"] == "m1"
    arrays.save(tmp_path / "in.npz", given)
    later = models.save(models.mlp(), tmp_path / "later")  # dropped by a step before these two models
    for source in (folders[0], later):
        said = entrypoints.diverge(lambda *_: None, str(source), str(folders[1]), str(tmp_path / "in.npz"), {}, "fp32")
        assert said["node"] is not None and said["node"]["output"] == "m1"


def test_what_cannot_be_compared_has_no_node_and_raises_nothing(tmp_path: Path) -> None:
    source = models.save(models.mlp(), tmp_path / "a")
    (tmp_path / "b").mkdir()
    arrays.save(tmp_path / "in.npz", models.inputs(models.mlp()))
    for target, inputs in ((tmp_path / "b", "in.npz"), (source, "none.npz")):
        said = entrypoints.diverge(lambda *_: None, str(source), str(target), str(tmp_path / inputs), {}, "fp32")
        assert said == {"node": None}
