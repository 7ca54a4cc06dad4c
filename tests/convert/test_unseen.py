"""Wrong conversions that agree on ordinary inputs: each was proven once, and must not be again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import ModelProto, helper, numpy_helper

from lib.convert.service.converter import Converter, Source


def model(text: str, opset: int = 17, **weights: object) -> ModelProto:
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items())
    return made


def halves(large: tuple[int, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(large).astype(np.float32) * k for n, k in (("A", 160), ("B", 0.01))}


def branches(threshold: float) -> ModelProto:
    """Floats cast to whole numbers beyond 32 bits, which OpenVINO computes in 32, behind a threshold."""
    made = model(
        "g (float[batch,3,4] x) => (float[batch,3,4] y) { r=ReduceMax<keepdims=0>(x) c=Greater(r,t) }",
        t=np.float32(threshold),
        k=np.float32(1e10),
    )
    inside = onnx.parser.parse_graph("g () => (float y1) { b=Mul(x,k) i=Cast<to=7>(b) y1=Cast<to=1>(i) }")
    bodies = {}
    for name, nodes in (("then_branch", inside.node), ("else_branch", [helper.make_node("Identity", ["x"], ["y2"])])):
        out = helper.make_tensor_value_info(nodes[-1].output[0], 1, None)
        bodies[name] = helper.make_graph(nodes, name, [], [out])
    made.graph.node.append(helper.make_node("If", ["c"], ["y"], name="choice", **bodies))
    return made


MOD = model("g (int64[batch,4] ids) => (int64[batch,4] b) { b=Mod(ids,k) }", k=np.int64(1000))
MUL = model("g (int64[batch,4] a) => (int64[batch,4] y) { y=Mul(a,k) }", k=np.int64(2_000_000))
CAST = model("g (float[batch,4] x) => (int64[batch,4] y) { b=Mul(x,k) y=Cast<to=7>(b) }", k=np.float32(1e7))
DOUBLE = model("g (double[batch,4] x) => (double[batch,4] y) { y=Mul(x,k) }", k=np.float64(1e30))
WIDE = model(
    "g (float[batch,16] x) => (float[batch,5000] y) { b=MatMul(x,A) s=MatMul(x,B) y=Concat<axis=1>(b,s) }",
    **halves((16, 2500)),
)
FLAT = model(
    "g (float[1,16] x) => (float[16] y) { b=MatMul(x,A) s=MatMul(x,B) c=Concat<axis=1>(b,s) y=Reshape(c,sh) }",
    sh=np.array([16]),
    **halves((16, 8)),
)
SQUARES = model(
    "g (float[batch,4,16,16] x) => (float[batch,1] y) { s=Mul(x,x) r=ReduceSum<keepdims=0>(s,ax) y=Reshape(r,sh) }",
    ax=np.array([1, 2, 3]),
    sh=np.array([-1, 1]),
)
SLICE = model(
    "g (float[batch,seq,4] x) => (float[batch,s2,4] y) { y=Slice(x,z,e,ax) }",
    z=np.array([0]),
    e=np.array([64]),
    ax=np.array([1]),
)
CASES = {
    "integers of 64 bits computed in 32": (MOD, "openvino", "failed", "equal"),
    "a product of integers": (MUL, "openvino", "failed", "equal"),
    "a float cast to a wide integer": (CAST, "openvino", "unproven", "64 bits"),
    "float64 computed in float32": (DOUBLE, "openvino", "unproven", "rounding explains"),
    "small columns of many": (WIDE, "onnx-int8-static", "unproven", "made-up inputs"),
    "small values without a batch": (FLAT, "onnx-int8-static", "unproven", "made-up inputs"),
    "a branch that no input enters": (branches(1000), "openvino", "unproven", "then branch of If 'choice'"),
    "the same, only slimmed": (branches(1000), "onnx-slim", "unproven", "then branch of If 'choice'"),
    "a branch that inputs enter": (branches(0.5), "openvino", "failed", "outside the tolerance"),
    "sums near the end of float16": (SQUARES, "onnx-fp16", "unproven", "65504"),
    "a largest size that the source has not": (SLICE, "pt2", "failed", "beyond"),
}


@pytest.mark.parametrize("name", CASES)
def test_is_not_proven(converter: Converter, name: str, tmp_path: Path) -> None:
    made, target, verdict, words = CASES[name]
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    (tmp_path / "out").mkdir()
    found = converter.convert(Source(files={"m.onnx": tmp_path / "m.onnx"}), target, {}, tmp_path / "out").result()
    assert found["report"]["verdict"] == verdict, found["report"]["reason"]
    assert words in found["report"]["reason"]
    assert found["artifact"] is None


def test_a_mask_of_the_lowest_number_is_no_overflow(converter: Converter, tmp_path: Path) -> None:
    """As attention has it: what is masked is as good as minus infinity, in float16, too."""
    made = model(
        "g (float[batch,8] x, bool[batch,8] m) => (float[batch,8] y) { s=Where(m,x,low) y=Softmax<axis=-1>(s) }",
        low=np.float32(np.finfo(np.float32).min),
    )
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    (tmp_path / "out").mkdir()
    given = Source(files={"m.onnx": tmp_path / "m.onnx"})
    found = converter.convert(given, "onnx-fp16", {}, tmp_path / "out").result()
    assert found["report"]["verdict"] == "proven", found["report"]["reason"]


def test_what_is_right_stays_proven(converter: Converter, tmp_path: Path) -> None:
    made = model("g (float[batch,4] x) => (float[batch,3] y) { y=MatMul(x,A) }", A=np.ones((4, 3), np.float32))
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    for target in ("onnx-fp16", "openvino", "pt2", "onnx-slim"):
        (tmp_path / target).mkdir()
        found = converter.convert(Source(files={"m.onnx": tmp_path / "m.onnx"}), target, {}, tmp_path / target).result()
        assert found["report"]["verdict"] == "proven", found["report"]["reason"]
