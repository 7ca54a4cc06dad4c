"""Int8 of ONNX and TensorFlow Lite: closeness, samples, which layers stay float, and what changes nothing.

Over 300 lines: both formats share the models and the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.convert.edges.tflite_to_tflite_int8 import STATIC
from lib.convert.formats import load
from lib.convert.tools import calibration
from lib.convert.tools.quantise import saturation
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.samples import Samples, halves, save
from lib.model_inputs.signature import Signature, Value
from tests.convert import models
from tests.convert.edge_run import convert
from tests.convert.test_onnx_edges import both, each_model
from tests.convert.tflite_models import batch_matmul, dense

INT8 = ["onnx-int8-dynamic", "onnx-int8-static"]
F32 = TensorProto.FLOAT
each_target = pytest.mark.parametrize("target", INT8)


def sent(folder: Path, rows: list[dict[str, np.ndarray]]) -> str:
    """The option ``samples``, as the pipeline gives it to an edge."""
    save(Samples(rows), folder)
    return str(folder)


@each_model
@each_target
@pytest.mark.parametrize("per_channel", [False, True], ids=["whole", "per channel"])
def test_int8_is_close(make: Callable, target: str, per_channel: bool, tmp_path: Path) -> None:
    said, pairs = both(make(), target, tmp_path, per_channel=per_channel)
    assert any(m.startswith("Quantised operators:") for m in said["messages"])
    assert {one["kept"] for one in said["layers"]} >= {"int8"}
    for want, got in pairs:
        # values beyond the calibrated range are cut off: a bit less is right for the static kind
        assert models.cosine(got, want) > (0.999 if "dynamic" in target else 0.998) and models.error(got, want) > 1e-6


@each_target
def test_an_old_opset_is_raised(target: str, tmp_path: Path) -> None:
    said, pairs = both(models.attention(11), target, tmp_path)
    assert any("from 11 to 13" in m for m in said["messages"])
    assert all(models.cosine(got, want) > 0.999 for want, got in pairs)


@each_target
def test_int8_agrees_with_the_reference(target: str, tmp_path: Path) -> None:
    """Saturating kernels of the machine would show here: the evaluator computes in wide integers."""
    model = models.mlp()
    both(model, target, tmp_path)
    runner, given = load(target, tmp_path / "target"), models.inputs(model, batch=8)
    want, got = runner.run(given)["y"], runner.run_reference(given)["y"]
    assert models.error(got, want) < 0.01


@each_target
def test_own_functions_are_quantised(target: str, tmp_path: Path) -> None:
    model = models.mlp()
    body = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Add", ["m", "c"], ["o"])]
    model.functions.append(helper.make_function("own", "Layer", ["a", "b", "c"], ["o"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    del model.graph.node[:2]
    model.graph.node.insert(0, helper.make_node("Layer", ["x", "w0", "b0"], ["h0"], "layer", domain="own"))
    said, pairs = both(model, target, tmp_path)
    assert len([one for one in said["layers"] if one["bytes"]]) >= 3
    assert all(models.cosine(got, want) > 0.998 for want, got in pairs)


@each_target
def test_a_branch_reads_what_was_quantised(target: str, tmp_path: Path) -> None:
    """The tool puts the nodes that make ``h`` behind the If that reads it from inside."""
    rng = np.random.default_rng(0)
    out = helper.make_tensor_value_info("t", F32, None)
    bodies = {
        "then_branch": helper.make_graph([helper.make_node("Identity", ["h"], ["t"])], "then", [], [out]),
        "else_branch": helper.make_graph([helper.make_node("Neg", ["h"], ["t"])], "else", [], [out]),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["i"], "choice", **bodies),
        helper.make_node("MatMul", ["i", "v"], ["y"], "last"),
    ]
    weights = {n: rng.standard_normal((16, 16)).astype(np.float32) for n in "wv"} | {"zero": np.float32(0)}
    model = models.made(nodes, [("x", F32, ["batch", 16])], [("y", F32, ["batch", 16])], weights, 17)
    folder = models.save(model, tmp_path / "s")
    convert("onnx", target, folder, tmp_path / "t")
    ours, theirs = load("onnx", folder), load(target, tmp_path / "t")
    for sign in (1, -1):
        x = sign * np.abs(rng.standard_normal((4, 16))).astype(np.float32)
        assert models.cosine(theirs.run({"x": x})["y"], ours.run({"x": x})["y"]) > 0.99


@each_target
def test_nothing_to_quantise_changes_nothing(target: str, tmp_path: Path) -> None:
    model = models.made([helper.make_node("Erf", ["x"], ["y"])], [("x", F32, ["n", 4])], [("y", F32, ["n", 4])], {}, 17)
    said = convert("onnx", target, models.save(model, tmp_path / "s"), tmp_path / "t")
    assert said["unchanged"].startswith("Nothing was quantised")


@each_target
def test_a_quantised_model_is_not_quantised_again(target: str, tmp_path: Path) -> None:
    convert("onnx", target, models.save(models.mlp(), tmp_path / "s"), tmp_path / "t")
    assert "already quantised" in convert("onnx", target, tmp_path / "t", tmp_path / "again")["unchanged"]


@each_target
def test_no_model_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"PK\3\4 something else")
    with pytest.raises(InvalidFile):
        convert("onnx", target, tmp_path, tmp_path / "t")


def classifier(outlier: float = 1.0) -> ModelProto:
    """``x`` [batch, 16] -> ``logits`` [batch, 10]. With an outlier, one scale for all of ``w1`` leaves nothing of it."""
    rng = np.random.default_rng(3)
    weights = {f"w{k}": (rng.standard_normal((16, 16)) / 4).astype(np.float32) for k in range(3)}
    weights["w3"] = rng.standard_normal((16, 10)).astype(np.float32)
    weights["w1"][0, 0] *= outlier
    nodes, last = [], "x"
    for k in range(4):
        nodes.append(helper.make_node("MatMul", [last, f"w{k}"], ["logits" if k == 3 else f"m{k}"], f"matmul{k}"))
        if k < 3:
            nodes.append(helper.make_node("Tanh", [f"m{k}"], [f"h{k}"], f"tanh{k}"))
            last = f"h{k}"
    return models.made(nodes, [("x", F32, ["batch", 16])], [("logits", F32, ["batch", 10])], weights, 17)


@each_target
def test_the_layer_that_hurts_stays_float(target: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"x": rng.standard_normal((1, 16)).astype(np.float32)} for _ in range(128)]
    folder = models.save(classifier(outlier=1e4), tmp_path / "s")
    given = {"samples": sent(tmp_path / "samples", rows), "per_channel": False}
    said = convert("onnx", target, folder, tmp_path / "t", **given)
    kept = {one["layer"]: one["kept"] for one in said["layers"]}
    assert kept["matmul1"] == "float32"
    assert [kept["matmul0"], kept["matmul3"]] == ["int8", "int8"]
    assert said["layers"][0]["layer"] == "matmul1" and said["layers"][0]["sqnr_db"] < said["layers"][1]["sqnr_db"]
    assert any("matmul1" in m and "float32" in m for m in said["messages"])
    ours, theirs = load("onnx", folder), load(target, tmp_path / "t")
    x = rng.standard_normal((400, 16)).astype(np.float32)
    want, got = ours.run({"x": x})["logits"], theirs.run({"x": x})["logits"]
    assert (want.argmax(1) == got.argmax(1)).mean() > 0.95


def test_a_lower_floor_leaves_more_int8(tmp_path: Path) -> None:
    folder = models.save(classifier(outlier=1e4), tmp_path / "s")
    said = convert("onnx", "onnx-int8-dynamic", folder, tmp_path / "t", per_channel=False, min_agreement=0.01)
    assert {one["kept"] for one in said["layers"]} == {"int8"}


def test_made_up_inputs_are_said_plainly(tmp_path: Path) -> None:
    said, _ = both(models.mlp(), "onnx-int8-static", tmp_path, random_samples=3)
    assert said["messages"][0].startswith("Ranges were measured on 3 made-up inputs, because no samples were given.")


def test_made_up_inputs_are_not_those_of_the_proof() -> None:
    from lib.convert.proof import cases as proof_cases

    signature = Signature((Value("x", "float32", ("n", 4)),))
    ours = {row["x"].tobytes() for row in calibration.made(signature, 8, {})}
    proof = {case.arrays["x"].tobytes() for case in proof_cases.cases(signature, tuple(range(8)))}
    assert len(ours) == 8 and not ours & proof


def test_samples_set_the_ranges(tmp_path: Path) -> None:
    """The same model with ranges of its real, small inputs is far better on these than with ranges of made-up ones."""
    folder, rng = models.save(models.mlp(), tmp_path / "s"), np.random.default_rng(5)
    real = (0.01 * rng.standard_normal((40, 1, 16))).astype(np.float32)
    said = convert(
        "onnx", "onnx-int8-static", folder, tmp_path / "a", samples=sent(tmp_path / "c", [{"x": x} for x in real])
    )
    assert said["messages"][0] == "Ranges were measured on 20 of the 40 samples; the others judge the file."
    convert("onnx", "onnx-int8-static", folder, tmp_path / "b")
    given = {"x": (0.01 * rng.standard_normal((8, 16))).astype(np.float32)}
    want = load("onnx", folder).run(given)["y"]
    near, far = (models.error(load("onnx", tmp_path / d).run(given)["y"], want) for d in "ab")
    assert near < far / 3


def test_the_half_that_judges_is_not_looked_at(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = Samples([{"x": rng.standard_normal((1, 16)).astype(np.float32)} for _ in range(20)])
    first, judged = halves(samples)
    save(samples, tmp_path / "s")
    signature = Signature((Value("x", "float32", ("n", 16)),))
    found = calibration.gathered(signature, {"samples": str(tmp_path / "s")})
    seen = {row["x"].tobytes() for row in found.rows}
    assert found.real and seen == {samples.rows[k]["x"].tobytes() for k in first}
    assert not seen & {samples.rows[k]["x"].tobytes() for k in judged}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"z": np.zeros((1, 16), np.float32)}, "no values for"),
        ({"x": np.zeros((1, 15), np.float32)}, r"a sample has \[1, 15\]"),
    ],
)
def test_samples_of_another_model_are_refused(row: dict, words: str, tmp_path: Path) -> None:
    folder = models.save(models.mlp(), tmp_path / "s")
    with pytest.raises(InvalidFile, match=words):
        convert("onnx", "onnx-int8-static", folder, tmp_path / "t", samples=sent(tmp_path / "c", [row] * 5))


@pytest.mark.parametrize("weights", saturation.WEIGHTS)
def test_kinds_of_weights(weights: str, tmp_path: Path) -> None:
    said, pairs = both(models.mlp(), "onnx-int8-static", tmp_path, weights=weights)
    assert all(models.cosine(got, want) > 0.99 for want, got in pairs)
    held = [numpy_helper.to_array(t) for t in onnx.load(str(tmp_path / "target" / "model.onnx")).graph.initializer]
    whole = [v for v in held if v.dtype.itemsize == 1 and v.ndim == 2]
    assert len(whole) == 3
    if weights == saturation.UNSIGNED:
        assert all(v.dtype == np.uint8 for v in whole)
    if weights == saturation.SEVEN:
        assert max(abs(v.astype(int)).max() for v in whole) <= 64
    if weights == saturation.SIGNED:
        assert all(v.dtype == np.int8 for v in whole) and not any("VNNI" in m for m in said["messages"])


@pytest.mark.parametrize("weights", saturation.WEIGHTS)
@pytest.mark.parametrize("per_channel", [True, False])
def test_no_weight_is_a_step_away_from_the_source(weights: str, per_channel: bool, tmp_path: Path) -> None:
    """Rounding that keeps means is the last one: the tool finds its numbers on the grid."""
    folder = models.save(models.mlp(), tmp_path / "s")
    rows = [{"x": np.abs(np.random.default_rng(k).standard_normal((1, 16))).astype(np.float32)} for k in range(8)]
    given = {"weights": weights, "per_channel": per_channel, "samples": sent(tmp_path / "c", rows)}
    convert("onnx", "onnx-int8-static", folder, tmp_path / "t", **given)
    source, made = (
        {t.name: numpy_helper.to_array(t).astype(np.float64) for t in onnx.load(str(f / "model.onnx")).graph.initializer}
        for f in (folder, tmp_path / "t")
    )
    for name in ("w0", "w1", "w2"):
        scale = made[f"{name}_scale"]
        exact = source[name] / scale
        steps = made[f"{name}_quantized"] - made[f"{name}_zero_point"]
        assert scale.size == (source[name].shape[1] if per_channel else 1)
        assert np.abs(steps - exact).max() < (0.51 if weights == saturation.UNSIGNED else 0.96)


@pytest.mark.parametrize("activations", ["dynamic (ranges while it runs)", STATIC])
def test_tflite_says_what_it_did(activations: str, tmp_path: Path) -> None:
    folder, *_ = dense(tmp_path / "a", width=512)
    rng = np.random.default_rng(7)
    rows = [{"x": rng.standard_normal((1, 512)).astype(np.float32)} for _ in range(20)]
    said = convert(
        "tflite", "tflite-int8", folder, tmp_path / "b", activations=activations, samples=sent(tmp_path / "c", rows)
    )
    assert [one["operator"] for one in said["layers"]] == ["FULLY_CONNECTED"]
    assert (said["messages"][0] == "Ranges were measured on 10 of the 20 samples; the others judge the file.") == (
        activations == STATIC
    )
    ours, theirs = load("tflite", folder), load("tflite-int8", tmp_path / "b")
    for row in rows:
        want, got = ours.run(row)["y"], theirs.run(row)["y"]
        assert got.dtype == np.float32 and np.abs(want - got).max() < 0.1 * max(np.abs(want).max(), 1.0)


def test_a_product_of_keras_is_no_constant(tmp_path: Path) -> None:
    """With a scale per channel, AI Edge Quantizer makes a BATCH_MATMUL that is always zero."""
    folder, rng = batch_matmul(tmp_path / "a"), np.random.default_rng(1)
    rows = [{"x": rng.standard_normal((1, 64)).astype(np.float32)} for _ in range(40)]
    said = convert("tflite", "tflite-int8", folder, tmp_path / "b", activations=STATIC, samples=sent(tmp_path / "c", rows))
    assert [one["kept"] for one in said["layers"]] == ["int8"]
    ours, theirs = load("tflite", folder), load("tflite-int8", tmp_path / "b")
    want, got = (np.concatenate([r.run(row)["y"] for row in rows]) for r in (ours, theirs))
    assert models.cosine(got, want) > 0.995


def test_a_bias_beside_weights_of_nearly_nothing_is_kept(tmp_path: Path) -> None:
    """Its steps are so small that it has no room in 32 bits; the tool lets it wrap around."""
    folder, weights, bias = dense(tmp_path / "a", width=64)
    path = folder / "model.tflite"
    dead = weights.copy()
    dead[2] *= 1e-12
    lively = bias.copy()
    lively[2] = 3.0
    data = path.read_bytes()
    assert data.count(weights.tobytes()) == data.count(bias.tobytes()) == 1
    path.write_bytes(data.replace(weights.tobytes(), dead.tobytes()).replace(bias.tobytes(), lively.tobytes()))
    rng = np.random.default_rng(1)
    rows = [{"x": rng.standard_normal((1, 64)).astype(np.float32)} for _ in range(20)]
    convert("tflite", "tflite-int8", folder, tmp_path / "b", activations=STATIC, samples=sent(tmp_path / "c", rows))
    got = load("tflite-int8", tmp_path / "b").run(rows[0])["y"]
    assert abs(got[0, 2] - 3.0) < 0.2


def test_tflite_without_a_signature_has_no_static_ranges(tmp_path: Path) -> None:
    unsigned, *_ = dense(tmp_path / "unsigned", signed=False)
    with pytest.raises(JobFailed, match="Choose dynamic ranges"):
        convert("tflite", "tflite-int8", unsigned, tmp_path / "none", activations=STATIC)


@pytest.mark.parametrize("first", ["tflite-int8", "tflite-fp16"])
def test_a_tflite_file_that_is_small_already_changes_nothing(first: str, tmp_path: Path) -> None:
    folder, *_ = dense(tmp_path / "a", width=512)
    convert("tflite", first, folder, tmp_path / "b")
    assert "already" in convert("tflite", "tflite-int8", tmp_path / "b", tmp_path / "c")["unchanged"]
