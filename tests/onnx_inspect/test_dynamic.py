"""Sizes of dynamic dimensions: plausible without a run, searched where onnxruntime refuses, as the samples have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from lib.errors import InvalidFile, InvalidValue
from lib.onnx_inspect import run
from lib.onnx_inspect.samples import SamplesFile
from tests.onnx_inspect.make import opened, report

PICTURE = "g (float[n,3,h,w] x, float[8,3,3,3] k) => (float[n,8,a,b] y) {y = Conv <pads = [1,1,1,1]> (x, k)}"
# a Reshape that takes multiples of 12 columns only
ODD = """g (float[n, s] x) => (float[a, b] y) <int64[3] t = {0, 12, -1}>
{h = Reshape (x, t) y = ReduceSum <keepdims = 0> (h)}"""


def ran(source: Any, folder: Path, inputs: Any = None, symbols: dict[str, int] | None = None) -> dict[str, Any]:
    return run.run(opened(source, folder), inputs, 0, 2, symbols or {}, folder, lambda *a: None)


def test_a_picture_model_is_counted_at_a_pictures_size(tmp_path: Path) -> None:
    found = report(PICTURE, tmp_path)
    assert found["sizes"] == {"n": 1, "h": 224, "w": 224} and found["macs"] == 224 * 224 * 8 * 27
    assert found["sizes_note"] == "n = 1, h = 224, w = 224: plausible sizes, as the model leaves them open."
    given = report(PICTURE, tmp_path, h=10)
    assert given["sizes"] == {"n": 1, "h": 10, "w": 224} and given["macs"] == 10 * 224 * 8 * 27
    assert given["sizes_note"].startswith("h = 10 as given; n = 1, w = 224: plausible")
    assert report(PICTURE, tmp_path, n=1, h=2, w=3)["sizes_note"] == "n = 1, h = 2, w = 3, as given."


def test_a_model_of_fixed_shapes_has_no_sizes(tmp_path: Path) -> None:
    found = report("g (float[2,3] x) => (float[2,3] y) {y = Relu (x)}", tmp_path)
    assert found["sizes"] == {} and found["sizes_note"] == ""


def test_a_run_looks_for_sizes_that_are_taken(tmp_path: Path) -> None:
    found = ran(ODD, tmp_path)
    assert found["agree"] and found["sizes"]["s"] % 12 == 0
    assert "found by trial" in found["sizes_note"]
    refused = ran(ODD, tmp_path, symbols={"n": 1, "s": 5})
    assert "Reshape" in refused["onnxruntime"]["error"] or "reshape" in refused["onnxruntime"]["error"]
    assert "ONNXRuntimeError" not in refused["onnxruntime"]["error"]
    assert refused["sizes"] == {"n": 1, "s": 5} and refused["agree"] is None


def test_the_sizes_of_sequences_and_maps_do_not_stop_a_run(tmp_path: Path) -> None:
    found = ran("g (float[n, 4] x) => (seq(float[n, 4]) y) {y = SequenceConstruct (x)}", tmp_path)
    assert found["sizes"] == {"n": 1} and found["agree"]


CLASSES = "g (float[n,3,h,w] x) => (float[n,3] y) {p = GlobalAveragePool (x) y = Flatten (p)}"


def test_a_picture_as_sample(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "red.png")
    given = SamplesFile(tmp_path / "red.png", "red.png", {"normalization": "0..1", "size": "32"})
    found = ran(CLASSES, tmp_path, given)
    assert found["agree"] and found["outputs"][0]["values"] == [[1.0, 0.0, 0.0]]
    assert found["sizes"] == {"n": 1, "h": 32, "w": 32} and found["seed"] is None
    samples = found["samples"]
    assert (samples["name"], samples["count"], samples["kind"]) == ("red.png", 1, "pictures")
    assert samples["preprocessing"]["normalization"] == "0..1" and samples["messages"]
    guessed = ran(CLASSES, tmp_path, SamplesFile(tmp_path / "red.png", "red.png"))
    assert guessed["samples"]["preprocessing"]["normalization"] == "imagenet" and guessed["sizes"]["h"] == 224


def test_arrays_as_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.arange(24, dtype=np.float32).reshape(4, 6))
    text = "g (float[n,6] x) => (float[n,6] y) {y = Neg (x)}"
    found = ran(text, tmp_path, SamplesFile(tmp_path / "in.npz", "in.npz"))
    assert found["samples"]["count"] == 4 and found["outputs"][0]["values"] == [[-0.0, -1.0, -2.0, -3.0, -4.0, -5.0]]
    np.save(tmp_path / "in.npy", np.ones((2, 6), np.float32))
    assert ran(text, tmp_path, SamplesFile(tmp_path / "in.npy", "in.npy"))["samples"]["count"] == 2


def test_sizes_that_the_inputs_do_not_have_are_said_to_be_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones((4, 6), np.float32))
    text = "g (float[n,6] x) => (float[n,6] y) {y = Neg (x)}"
    one = ran(text, tmp_path, SamplesFile(tmp_path / "in.npz", "in.npz"), {"n": 3})
    assert one["sizes_note"] == "n = 1, as the sample has them. n = 3: ignored, since one sample is run."
    whole = ran(text, tmp_path, tmp_path / "in.npz", {"n": 3})
    assert whole["inputs"][0]["shape"] == [4, 6] and whole["sizes_note"].startswith("n = 3: ignored")


def test_what_is_no_sample(tmp_path: Path) -> None:
    (tmp_path / "odd.bin").write_bytes(b"\0\1\2\3" * 20)
    with pytest.raises(InvalidFile, match=r"odd\.bin"):
        ran(CLASSES, tmp_path, SamplesFile(tmp_path / "odd.bin", "odd.bin"))
    Image.new("RGB", (8, 8)).save(tmp_path / "red.png")
    with pytest.raises(InvalidValue, match="imagenet"):
        ran(CLASSES, tmp_path, SamplesFile(tmp_path / "red.png", "red.png", {"normalization": "odd"}))
    with pytest.raises(InvalidFile, match="tensors"):
        ran("g (seq(float[2]) x) => () {}", tmp_path, SamplesFile(tmp_path / "red.png", "red.png"))


def test_a_loop_whose_trips_are_known(tmp_path: Path) -> None:
    body = "body = b (int64 i, bool g, float[2,2] v) => (bool h, float[2,2] w) {h = Identity (g) w = MatMul (v, v)}"
    loop = f"{{y = Loop (n, , x) <{body}>}}"
    found = report(f"g (float[2,2] x) => (float[a,b] y) <int64 n = {{5}}> {loop}", tmp_path)
    assert (found["macs"], found["not_counted"], found["macs_by_operator"]) == (40, [], {"MatMul": 40})
    by_shape = f"g (float[7,2] r, float[2,2] x) => (float[a,b] y) {{s = Shape <end = 1> (r) n = Squeeze (s) {loop[1:]}"
    assert report(by_shape, tmp_path)["macs"] == 56
    ending = body.replace("h = Identity (g)", "m = ReduceMax <keepdims = 0> (v) h = Less (m, l)")
    early = f"g (float[2,2] x) => (float[a,b] y) <int64 n = {{5}}, float l = {{1}}> {{y = Loop (n, , x) <{ending}>}}"
    found = report(early, tmp_path)
    assert found["macs"] == 0 and found["not_counted"][0]["reason"] == (
        "its body (8 MACs per pass) runs up to 5 times, depending on its condition"
    )


def test_what_a_branch_can_count_is_counted_beside_what_it_cannot(tmp_path: Path) -> None:
    text = (
        "g (bool c, float[2,3] x, float[3,4] w, float[1,4,1] z, int64 n) => (float[a,b] y) {y = If (c) <"
        "then_branch = t () => (float[2,4] p) {p = MatMul (x, w) d = DFT (z, n)},"
        "else_branch = e () => (float[2,4] q) {q = MatMul (x, w)}>}"
    )
    found = report(text, tmp_path)
    assert found["macs"] == 24 and found["macs_by_operator"] == {"MatMul": 24}
    assert found["not_counted"] == [{"operator": "DFT", "reason": "no formula for this operator", "nodes": 1}]


def test_shapes_that_are_computed_inside_a_branch(tmp_path: Path) -> None:
    """Shape → Concat → Reshape in the branch itself, as scripted networks have them."""
    text = (
        "g (bool c, float[n,6] x, float[3,4] w) => (float[a,b,d] y) {y = If (c) <"
        "then_branch = t () => (float[a1,b1,d1] p) <int64[2] rest = {2, 3}> {s = Shape <end = 1> (x) u = Concat <axis = 0>"
        "(s, rest) r = Reshape (x, u) p = MatMul (r, w)}, else_branch = e () => (float[a2,b2,d2] q) {"
        "h = Unsqueeze (x, k) q = Identity (h)}>}"
    ).replace("(float[3,4] w)", "(float[3,4] w)")
    text = text.replace(" => (float[a,b,d] y) {", " => (float[a,b,d] y) <int64[1] k = {1}> {", 1)
    found = report(text, tmp_path, n=5)
    assert (found["macs"], found["not_counted"]) == (5 * 2 * 4 * 3, [])


def test_the_profile_leaves_out_the_channels_that_fill_a_block(tmp_path: Path) -> None:
    """3, 12, 20 and 5 channels are 16 and 32 in onnxruntime's own layout."""
    rng = np.random.default_rng(0)
    shapes = {"a": (12, 3, 3, 3), "b": (20, 12, 3, 3), "c": (20, 1, 3, 3), "d": (5, 20, 1, 1)}
    weights = [helper.make_tensor(n, TensorProto.FLOAT, s, rng.standard_normal(s).ravel()) for n, s in shapes.items()]
    nodes, last = [], "x"
    for name, (_, _, side, _) in shapes.items():
        options = {"group": 20} if name == "c" else {}
        pads = [side // 2] * 4
        nodes.append(helper.make_node("Conv", [last, name], [f"{name}_out"], f"conv_{name}", pads=pads, **options))
        nodes.append(helper.make_node("Relu", [f"{name}_out"], [f"{name}_act"], f"relu_{name}"))
        last = f"{name}_act"
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (1, 3, 16, 16)), (last, None))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    rows = ran(model, tmp_path)["onnxruntime"]["profile"]
    expected = {f"conv_{n}": 256 * int(np.prod(s)) for n, s in shapes.items()}
    assert {r["node"]: r["macs"] for r in rows if r["operator"] == "Conv"} == expected
    assert sum(r["macs"] for r in rows) == report(model, tmp_path)["macs"]


def test_a_latency_says_on_what_it_was_measured(tmp_path: Path) -> None:
    found = ran(CLASSES, tmp_path)["onnxruntime"]
    machine = found["machine"]
    assert machine["processor"] and machine["cores"] >= 1 and machine["provider"] == "CPUExecutionProvider"
    assert machine["warm_up_runs"] == 1 and (machine["threads"] is None or machine["threads"] >= 1)
    assert isinstance(found["noisy"], bool)
