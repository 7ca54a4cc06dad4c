"""Feeds, both runtimes and how they are compared, latency, and the profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.errors import InvalidFile, InvalidValue
from lib.onnx_inspect import feeds, profile, run, runtimes, shapes
from lib.onnx_inspect.examples import EXAMPLES, cnn
from lib.reports import outputs
from tests.onnx_inspect.make import opened, parsed, report

DIGITS = 16 * 28 * 28 * 9 + 32 * 14 * 14 * 16 * 9 + 1568 * 10


def ran(source: ModelProto | str, folder: Path, **more: Any) -> dict[str, Any]:
    given = {"inputs": None, "seed": 0, "runs": 3, "symbols": {}} | more
    model = opened(source, folder)
    result = run.run(model, folder=folder, progress=lambda *a: None, **given)
    json.dumps(result, allow_nan=False)
    return result


def made(text: str, seed: int = 0, **symbols: int) -> dict[str, np.ndarray]:
    return feeds.random_inputs(shapes.bind(parsed(text), symbols)[0], seed)


# ---- inputs

TYPES = "g (float[n,3] x, int64[n] ids, bool[2] keep, string[2] s, float16[n] h, bfloat16[n] b, complex64[2] c) => () {}"


def test_one_seed_gives_one_set_of_arrays() -> None:
    a, b, other = made(TYPES, 7, n=5), made(TYPES, 7, n=5), made(TYPES, 8, n=5)
    assert list(a) == ["x", "ids", "keep", "s", "h", "b", "c"]
    assert all((a[k] == b[k]).all() and a[k].dtype == b[k].dtype for k in a)
    assert (a["x"] != other["x"]).any() and a["x"].shape == (5, 3) and a["x"].dtype == np.float32
    assert a["b"].dtype == ml_dtypes.bfloat16 and a["c"].dtype == np.complex64 and a["s"].dtype == object
    assert abs(float(made("g (float[n] x) => () {}", n=10_000)["x"].std()) - 1) < 0.05


def test_integers_suit_what_their_name_says() -> None:
    found = made("g (int64[2,4] input_ids, int64[2,4] attention_mask, int64[2,4] position_ids, int8[9] z) => () {}")
    assert found["attention_mask"].tolist() == [[1] * 4] * 2 and found["position_ids"].tolist() == [[0, 1, 2, 3]] * 2
    assert all(found[k].min() >= 0 and found[k].max() <= 9 for k in ("input_ids", "z"))


@pytest.mark.parametrize(("text", "message"), [
    ("g (seq(float[2]) x) => () {}", "this input is a sequence of float32"),
    ("g (float[a,b] x) => () {}", "at most 1024 MB of inputs"),
])  # fmt: skip
def test_inputs_that_cannot_be_made_up(text: str, message: str) -> None:
    symbols = {"a": 1 << 20, "b": 1 << 20} if "a,b" in text else {}
    with pytest.raises(InvalidValue, match=message):
        made(text, **symbols)


@pytest.mark.parametrize(("symbols", "message"), [
    ({"batch": 0}, "1 to 16777216"),
    ({"batch": True}, "1 to 16777216"),
    ({"size": 2}, "dynamic dimensions of this model's inputs: batch"),
])  # fmt: skip
def test_symbols_that_are_refused(symbols: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        shapes.bind(cnn(), symbols)


def test_a_nameless_dimension_is_called_after_its_place(tmp_path: Path) -> None:
    model = parsed("g (float[n] x) => (float[n] y) {y = Relu (x)}")
    model.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    assert shapes.symbols(model) == {"x[0]": ["x[0]"]}
    assert ran(model, tmp_path, symbols={"x[0]": 4})["outputs"][0]["shape"] == [4]


def test_symbols_make_the_shapes(tmp_path: Path) -> None:
    found = ran(cnn(), tmp_path, symbols={"batch": 3})
    assert found["symbols"] == {"batch": 3} and found["seed"] == 0
    assert found["inputs"] == [{"name": "image", "dtype": "float32", "shape": [3, 1, 28, 28]}]
    assert found["outputs"][0]["shape"] == [3, 10]


def test_an_npz_is_run_and_comes_back(tmp_path: Path) -> None:
    x = np.random.default_rng(3).standard_normal((2, 4)).astype(np.float32)
    np.savez(tmp_path / "in.npz", X=x)
    found = ran(EXAMPLES["linear"](), tmp_path, inputs=tmp_path / "in.npz")
    a = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    expected = x @ a + np.float32([0.1, 0.2, 0.3])
    assert (found["seed"], found["symbols"]) == (None, None)
    np.testing.assert_allclose(found["outputs"][0]["values"], expected, rtol=1e-5)
    for file, name, value in (("inputs", "X", x), ("outputs", "Y", expected), ("reference", "Y", expected)):
        with np.load(tmp_path / f"{file}.npz", allow_pickle=False) as back:
            assert back.files == [name]
            np.testing.assert_allclose(back[name], value, rtol=1e-5)


def test_one_unnamed_array_is_the_only_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", np.ones((1, 4), np.float32))
    assert feeds.from_npz(tmp_path / "in.npz", EXAMPLES["linear"]())["X"].tolist() == [[1.0] * 4]


def test_labels_beside_the_inputs_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", X=np.ones((2, 4), np.float32), labels=np.arange(2))  # as the converter takes them
    assert list(feeds.from_npz(tmp_path / "in.npz", EXAMPLES["linear"]())) == ["X"]


F = np.float32
BAD: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "missing": ({"Z": np.ones(1)}, r"lacks 'X'. The model takes: X float32 \[batch, 4\]"),
    "extra": ({"X": np.ones((1, 4), F), "Z": np.ones(1)}, "also has 'Z'"),
    "dtype": ({"X": np.ones((1, 4))}, r"'X' is float64 \[1, 4\]"),
    "rank": ({"X": np.ones(4, F)}, r"is float32 \[4\]"),
    "size": ({"X": np.ones((1, 5), F)}, r"is float32 \[1, 5\]"),
    "pickle": ({"X": np.array([{}], object)}, "not an .npz file with plain arrays"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_npz_that_does_not_fit(case: str, tmp_path: Path) -> None:
    arrays, message = BAD[case]
    np.savez(tmp_path / "in.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InvalidFile, match=message):
        feeds.from_npz(tmp_path / "in.npz", EXAMPLES["linear"]())


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"hello" * 100])
def test_what_is_no_npz(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(data)
    with pytest.raises(InvalidFile, match=r"not an \.npz file with plain arrays"):
        feeds.from_npz(tmp_path / "in.npz", EXAMPLES["linear"]())


def test_typed_values(tmp_path: Path) -> None:
    assert ran(EXAMPLES["linear"](), tmp_path, inputs={"X": [[1, 2, 3, 4]]})["outputs"][0]["values"] == [
        pytest.approx([3.1, 4.2, 5.3])
    ]
    for given, message in (({"X": [[1, 2], [3]]}, "not an array"), ({"X": [1]}, "float32"), ({"Q": 1}, "lack 'X'")):
        with pytest.raises(InvalidFile, match=message):
            feeds.from_lists(given, EXAMPLES["linear"]())


@pytest.mark.parametrize(("field", "value"), [("runs", 0), ("runs", 1001), ("seed", -1), ("seed", 2**32)])
def test_wrong_settings(field: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=f"{field} was {value}"):
        ran(cnn(), tmp_path, **{field: value})


# ---- both runtimes


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n != "troubled"])
def test_the_runtimes_agree_on_the_examples(name: str, tmp_path: Path) -> None:
    found = ran(EXAMPLES[name](), tmp_path)
    assert found["agree"] and len(found["differences"]) == len(found["outputs"]) > 0
    assert all(d["agree"] and d["cosine"] == pytest.approx(1) for d in found["differences"])


def test_one_that_onnxruntime_refuses_still_has_outputs(tmp_path: Path) -> None:
    found = ran(EXAMPLES["troubled"](), tmp_path)
    assert "LeakyRelu" in found["onnxruntime"]["error"] and "error" not in found["reference"]
    assert found["agree"] is None and found["differences"] == [] and found["outputs"][0]["shape"] == [1, 8]
    assert found["outputs"][0]["not_finite"] > 0 and "nan" in np.ravel(found["outputs"][0]["values"]).tolist()


def test_one_that_neither_runs(tmp_path: Path) -> None:
    found = ran("g (float[2] x) => (float[2] y) {y = local.Magic (x)}", tmp_path)
    assert found["outputs"] == [] and found["agree"] is None and not (tmp_path / "outputs.npz").exists()
    for runtime in ("onnxruntime", "reference"):
        assert "Magic" in found[runtime]["error"] and str(tmp_path) not in found[runtime]["error"]


def test_external_data_are_found(tmp_path: Path) -> None:
    model = cnn()
    expected = ran(model, tmp_path / "inline")["outputs"]
    onnx.save(model, tmp_path / "saved.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    external = opened(onnx.load(tmp_path / "saved.onnx", load_external_data=False), tmp_path, {"w.bin": tmp_path / "w.bin"})
    found = run.run(external, None, 0, 1, {}, tmp_path, lambda *a: None)
    assert found["outputs"] == expected and found["agree"]


ODD_TYPES = """g (float[n] x, string[2] s, bool[2] k) => (string[2] s2, bool[2] k2, float[n] y, seq(float[n]) q)
{s2 = Identity (s) k2 = Not (k) y = Relu (x) q = SequenceConstruct (x, y)}"""


def test_outputs_of_every_kind(tmp_path: Path) -> None:
    found = ran(ODD_TYPES, tmp_path, symbols={"n": outputs.SHOWN + 1})
    by_name = {o["name"]: o for o in found["outputs"]}
    assert found["agree"], found["differences"]
    assert {n: o["dtype"] for n, o in by_name.items()} == {"s2": "string", "k2": "bool", "y": "float32", "q": "list"}
    assert len(by_name["y"]["values"]) == outputs.SHOWN and not by_name["y"]["complete"] and by_name["y"]["minimum"] == 0
    assert all(v.startswith("word") for v in by_name["s2"]["values"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8e4m3fn", "int4", "uint4", "int8", "double", "uint64"])
def test_dtypes_go_in_and_come_out(dtype: str, tmp_path: Path) -> None:
    """Those that numpy does not have, too; odd sizes, as two 4-bit numbers share a byte."""
    number = getattr(TensorProto, dtype.upper())
    body = "y = Identity (x)" if "int4" not in dtype else f"f = Cast <to=1> (x) y = Cast <to={number}> (f)"
    found = ran(f"g ({dtype}[3,3] x) => ({dtype}[3,3] y) {{{body}}}", tmp_path)
    assert found["agree"] and found["outputs"][0]["dtype"] == found["inputs"][0]["dtype"]
    assert "error" not in found["onnxruntime"] and (tmp_path / "outputs.npz").exists()


def test_latency(tmp_path: Path) -> None:
    told: list[str] = []
    model = opened(cnn(), tmp_path)
    runtime = run.run(model, None, 0, 40, {}, tmp_path, lambda stage, *a: told.append(stage))["onnxruntime"]
    marks = runtime["latency_ms"]
    ordered = [marks[k] for k in ("min", "p5", "p50", "p90", "p95", "p99")]
    assert ordered == sorted(ordered) and 0 < marks["min"] <= marks["mean"]
    assert runtime["runs"] == 40 and runtime["load_ms"] > 0 and runtime["first_ms"] > 0 and "Run 32 of 40" in told


def test_the_reference_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "REFERENCE_SECONDS", 0.1)
    monkeypatch.setattr(profile, "MAX_PROFILE", 1 << 20)
    text = """g (int64 n, bool go, float[2] x) => (float[a] y) {y = Loop (n, go, x) <
        body = b (int64 i, bool g, float[2] v) => (bool h, float[2] w) {h = Identity (g) w = Abs (v)}>}"""
    found = ran(text, tmp_path, inputs={"n": 10_000, "go": True, "x": [1, 2]}, runs=1)
    assert "stopped after 0.1 s" in found["reference"]["error"] and found["outputs"][0]["values"] == [1.0, 2.0]
    assert found["onnxruntime"]["profile"] == []  # every step is in it: more than one cares to read


# ---- how outputs are compared


@pytest.mark.parametrize(
    ("ours", "expected", "agree"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.0], [1.0005, 2.0], True),
        ([1.0, 2.0], [1.01, 2.0], False),
        ([1e-8, 0.0], [0.0, 9e-8], True),  # the absolute tolerance, where expected is 0
        ([1e-6, 0.0], [0.0, 9e-6], False),  # which goes with the output's scale
        ([1e3, 1.001e9], [1.0, 1e9], True),
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([np.nan, 1.0], [1.0, 1.0], False),
        ([1.0, 1.0], [np.nan, 1.0], False),
        ([np.inf, -np.inf], [np.inf, -np.inf], True),
        ([np.inf, 1.0], [-np.inf, 1.0], False),
        ([np.inf, 1.0], [1e38, 1.0], False),
        ([np.inf, 1.0], [np.nan, 1.0], False),
        ([], [], True),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_difference(ours: list[float], expected: list[float], agree: bool, dtype: type) -> None:
    found = run.difference("y", np.array(ours, dtype), np.array(expected, dtype))
    assert found["agree"] is agree and found["name"] == "y"
    json.dumps(found, allow_nan=False)
    odd = [not (np.isfinite(a) and np.isfinite(b)) for a, b in zip(ours, expected, strict=True)]
    assert ("why" in found) == (not agree and any(odd))


def test_the_numbers_of_a_difference() -> None:
    found = run.difference("y", np.float32([1, 2, 0]), np.float32([1, 1, 0]))
    assert (found["max_abs"], found["max_rel"]) == (1.0, 1.0) and found["cosine"] == pytest.approx(3 / np.sqrt(10))
    assert run.difference("y", np.zeros(2), np.zeros(2))["cosine"] is None


@pytest.mark.parametrize(
    ("ours", "expected", "why"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "float64 [2, 3] against float64 [3, 2]"),
        (np.zeros(2, np.float32), np.zeros(2), "float32 [2] against float64 [2]"),
        (np.zeros(2), [np.zeros(2)], None),
        ([np.zeros(2)], [np.zeros(2), np.zeros(2)], None),
        (np.array(["a"], object), np.array(["b"]), "1 of 1 strings differ"),
        (None, np.zeros(2), None),
        ({1: 2.0}, {1: 3.0}, None),
        ({1: 2.0}, {2: 2.0}, None),
    ],
)
def test_what_cannot_agree(ours: Any, expected: Any, why: str | None) -> None:
    found = run.difference("y", ours, expected)
    assert found["agree"] is False and found.get("why") == why


def test_sequences_and_strings_that_agree() -> None:
    assert run.difference("y", [np.zeros(2), np.ones(1)], [np.zeros(2), np.ones(1)])["agree"]
    assert run.difference("y", np.array(["a"], object), np.array(["a"], str).astype(object))["agree"]
    # onnxruntime gives objects, the reference evaluator numpy's own text
    assert run.difference("y", np.array(["dog"], object), np.array(["dog"]))["agree"]
    assert run.difference("y", np.array([b"dog"], object), np.array(["dog"]))["agree"]
    assert run.difference("y", [{0: 0.25, 1: 0.75}], [{1: 0.75, 0: 0.25}])["agree"]
    assert run.difference("y", None, None)["agree"]
    assert run.difference("y", np.array([True]), np.array([True]))["agree"]


# ---- the profile


def test_the_profile_adds_up(tmp_path: Path) -> None:
    rows = ran(cnn(), tmp_path)["onnxruntime"]["profile"]
    assert sum(r["share"] for r in rows) == pytest.approx(1)
    assert sum(r["macs"] for r in rows) == report(cnn(), tmp_path)["macs"] == DIGITS
    assert [r["ms"] for r in rows] == sorted((r["ms"] for r in rows), reverse=True)
    for row in rows:
        assert row["gmacs_per_second"] == (pytest.approx(row["macs"] / row["ms"] / 1e6) if row["macs"] else None)
    assert not list(tmp_path.glob("profile*"))


@pytest.mark.parametrize("symbols", [{"batch": 2, "sequence": 5}, {"batch": 1, "sequence": 1}])
def test_the_profile_of_a_transformer_counts_what_the_summary_counts(symbols: dict[str, int], tmp_path: Path) -> None:
    """onnxruntime fuses transposes and scales into FusedMatMul; the products stay the same."""
    model = EXAMPLES["transformer-block"]()
    rows = ran(model, tmp_path, symbols=symbols)["onnxruntime"]["profile"]
    assert sum(r["macs"] for r in rows) == report(model, tmp_path, **symbols)["macs"] > 0


def test_what_runs_inside_a_loop_is_counted_once(tmp_path: Path) -> None:
    rows = ran(EXAMPLES["loop"](), tmp_path, inputs={"x": [1.0, 1.0]})["onnxruntime"]["profile"]
    assert {r["operator"] for r in rows} == {"Add", "ReduceMax", "Less"}
    assert {r["calls"] for r in rows} == {7}  # 2⁷ is the first over 100


def test_a_node_in_two_calls_and_four_runs() -> None:
    def event(ms: float) -> dict[str, Any]:
        arguments = {"op_name": "MatMul", "input_type_shape": [{"float": [2, 3]}, {"float": [3, 4]}]}
        return {"name": "m_kernel_time", "dur": ms * 1000, "args": arguments | {"output_type_shape": [{"float": [2, 4]}]}}

    (row,) = profile.rows((event(ms) for ms in (50, 50, 1, 1, 2, 3, 9, 9)), 4)
    # the first run warms up; the median of 2, 5 and 18; two products of 24 MACs
    assert (row["calls"], row["ms"], row["macs"], row["share"]) == (2, 5.0, 48, 1.0)


def test_the_profile_of_a_turned_gemm(tmp_path: Path) -> None:
    text = "g (float[4,3] x) => (float[a,b] y) <float[4,2] w = {1,2,3,4,5,6,7,8}> {y = Gemm <transA=1> (x, w)}"
    assert sum(r["macs"] for r in ran(text, tmp_path)["onnxruntime"]["profile"]) == 24 == report(text, tmp_path)["macs"]


def test_a_long_run_of_profiled_weights_stays_small(tmp_path: Path) -> None:
    """The answer shows values up to a number, whatever the output's size."""
    weight = numpy_helper.from_array(np.zeros(100_000, np.float32), "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [100_000]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    found = ran(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path)
    assert len(json.dumps(found)) < 30_000 and found["agree"]
