"""Shapes that are computed: onnx's inference stops at them, ``propagate`` goes on."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from lib.onnx_inspect import propagate, shapes
from tests.onnx_inspect.make import opened, report

# what a legacy export of x.view(n, 2, c // 2, h) says, with n dynamic
CHAIN = """g (float[n,6,4] x) => (float[a,b,c,d] y)
<int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64[1] axis = {0}> {
    s = Shape (x)  n = Gather (s, zero)  c = Gather (s, one)  half = Div (c, two)  h = Shape <start=2> (x)
    n1 = Unsqueeze (n, axis)  two1 = Unsqueeze (two, axis)  half1 = Unsqueeze (half, axis)
    to = Concat <axis=0> (n1, two1, half1, h)  r = Reshape (x, to)  y = Relu (r)
}"""


def completed(text: str, folder: Path, symbols: dict[str, int]) -> dict[str, tuple]:
    model = opened(text, folder)
    bound, _ = shapes.bind(model.proto, symbols)
    found = shapes.types(propagate.complete(shapes.infer(model, bound, folder)))
    return {name: kind.shape for name, kind in found.items()}


def test_a_computed_shape(tmp_path: Path) -> None:
    found = completed(CHAIN, tmp_path, {"n": 5})
    assert found["r"] == found["y"] == (5, 2, 3, 4)


def test_inference_alone_does_not_know_it(tmp_path: Path) -> None:
    """When onnx learns this, the module may go."""
    model = opened(CHAIN, tmp_path)
    bound, _ = shapes.bind(model.proto, {"n": 5})
    assert shapes.types(shapes.infer(model, bound, tmp_path))["y"].elements is None


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("s = Size (x) t = Unsqueeze (s, axis) y = Reshape (x, t)", (24,)),
        ("s = Shape (x) z = ConstantOfShape (s) k = Shape (z) m = Sub (k, k) p = Add (m, k) y = Expand (x, p)", (6, 4)),
        ("s = Shape (x) f = Cast <to=1> (s) g = Mul (f, half) i = Cast <to=7> (g) y = Tile (x, i)", (18, 8)),
        ("s = Shape <start=-2, end=-1> (x) q = Squeeze (s) r = Range (zero, q, two) y = Gather (x, r)", (3, 4)),
    ],
)
def test_operators_of_such_chains(body: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    rank = ",".join("abcd"[: len(shape)])
    weights = "<int64 zero = {0}, int64 two = {2}, float half = {0.5}, int64[1] axis = {0}>"
    assert completed(f"g (float[6,4] x) => (float[{rank}] y) {weights} {{{body}}}", tmp_path, {})["y"] == shape


def test_a_declared_size_is_not_believed(tmp_path: Path) -> None:
    """The file says that Range gives 3 values; its limit says 2⁴⁰, and nobody computes those."""
    text = "g (float[3] x) => (float[a] y) <int64 zero = {0}, int64 one = {1}, int64 far = {1099511627776}> {" + (
        "s = Range (zero, far, one) t = Mul (s, s) y = Reshape (x, t)}"
    )
    model = opened(text, tmp_path)
    model.proto.graph.value_info.append(onnx.helper.make_tensor_value_info("s", onnx.TensorProto.INT64, [3]))
    assert propagate.complete(model.proto) is model.proto


def test_a_default_of_an_input_is_no_constant(tmp_path: Path) -> None:
    text = "g (float[6] x, int64[2] to) => (float[a,b] y) <int64[2] to = {2, 3}> {t = Abs (to) y = Reshape (x, t)}"
    assert not {2, 3} & set(completed(text, tmp_path, {})["y"])
    assert completed(text.replace(", int64[2] to)", ")"), tmp_path, {})["y"] == (2, 3)


@pytest.mark.parametrize("node", ["Shape", "Size", "Constant", "Concat", "Div"])
def test_nodes_without_inputs_or_outputs_break_nothing(node: str, tmp_path: Path) -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(node, [], []), onnx.helper.make_node(node, ["nowhere"], ["y", ""])], "g", [], []
    )
    model: ModelProto = onnx.helper.make_model(graph)
    assert propagate.complete(model) is model


def test_a_symbol_stays_in_the_report(tmp_path: Path) -> None:
    found = report(CHAIN, tmp_path, n=2)
    shapes_by_output = {n["outputs"][0]: n["output_shapes"][0] for n in found["nodes"]}
    assert shapes_by_output["s"] == [3] and found["inputs"][0]["shape"] == ["n", 6, 4]
