"""Small files that went wrong once, of Keras, TensorFlow Lite and checkpoints. What each must give stands in the table.

Those that need the TensorFlow environment are slow: it is made once, by pip, in minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.convert import environments
from lib.convert.core import signatures
from lib.convert.edges import edges
from lib.convert.formats import load
from lib.convert.formats.weights import numpy_pickles
from lib.convert.intake.admit import admit_upload
from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.jobs import Jobs, Limits
from lib.tflite import weights as tflite_weights
from tests.convert import edge_run

CASES = Path(__file__).parent / "cases"
LIMITS = Limits(memory_mb=6000, cpu_seconds=600, wall_seconds=600, file_mb=512)
FP32 = 1e-5  # of the output's range

# file, target, options -> what the edge answers ("lost" and "messages": a part of one), and the error of the outputs
Row = tuple[str, str, dict[str, Any], dict[str, Any], float]
HERE: list[Row] = [
    ("03-tflite-two-signatures.tflite", "tflite-fp16", {}, {"lost": "reaches 1,304,000"}, np.inf),
    ("06-keras-last-layer-conv2d.keras", "onnx", {}, {"fixed": {}}, FP32),
    ("08-keras-timedistributed.keras", "onnx", {}, {"fixed": {}}, FP32),
    ("16-keras-mixed-float16.keras", "onnx", {}, {"precision": "fp16", "messages": "makes it compute in float16"}, 1e-2),
    ("29-keras-fcn-same-stride.keras", "onnx", {}, {"fixed": {}}, FP32),
    ("30-checkpoint-numpy-scalar.pth", "safetensors", {}, {"messages": "left out: best_acc, args"}, 0.0),
]
ELSEWHERE: list[Row] = [
    ("03-tflite-two-signatures.tflite", "onnx", {}, {"lost": "'encode' was left out; choose it with"}, FP32),
    ("03-tflite-two-signatures.tflite", "onnx", {"signature": "encode"}, {"lost": [], "messages": "as requested"}, FP32),
    ("04-savedmodel-second-signature.zip", "onnx", {}, {"lost": "'embed' was left out; choose it with"}, FP32),
    ("04-savedmodel-second-signature.zip", "onnx", {"signature": "embed"}, {"lost": [], "messages": "as requested"}, FP32),
]


@pytest.fixture(autouse=True)
def torch_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KERAS_BACKEND", "torch"), ("CUDA_VISIBLE_DEVICES", ""), ("TF_CPP_MIN_LOG_LEVEL", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("KERAS_HOME", "")
    monkeypatch.delenv("KERAS_HOME")


def data_folder(request: pytest.FixtureRequest) -> Path:
    return Path(os.environ.get("DATA_FOLDER") or request.config.cache.mkdir("workbench"))


@pytest.fixture(scope="module")
def tensorflow(request: pytest.FixtureRequest) -> Iterator[Jobs]:
    """Processes in the TensorFlow environment, which is kept in pytest's cache or where the app has it."""
    try:
        python = environments.ensure("tensorflow", data_folder(request) / "environments", lambda stage, share=None: None)
    except JobFailed as error:
        if "package index" in error.message or "cannot be created here" in error.message:
            pytest.skip(error.message)
        raise
    jobs = Jobs(workers=1, waiting=1, python=python)
    yield jobs
    jobs.close()


@pytest.mark.parametrize("row", HERE, ids=lambda row: f"{row[0][:2]}-{row[1]}")
def test_a_case(row: Row, tmp_path: Path) -> None:
    judge(row, edge_run.compared(CASES / row[0], row[1], row[2], tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("row", ELSEWHERE, ids=lambda row: f"{row[0][:2]}-{row[1]}-{row[2].get('signature', '')}")
def test_a_case_of_tensorflow(row: Row, tmp_path: Path, tensorflow: Jobs) -> None:
    given = {"file": str(CASES / row[0]), "target": row[1], "options": row[2], "folder": str(tmp_path)}
    judge(row, tensorflow.submit("tests.convert.edge_run:compare", given, limits=LIMITS).result())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_proof_looks_at_the_signature_that_was_converted(
    tmp_path: Path, tensorflow: Jobs, request: pytest.FixtureRequest
) -> None:
    from lib.convert.service.converter import Converter, Source
    from lib.settings import Settings

    path = CASES / "03-tflite-two-signatures.tflite"
    converter = Converter(Settings(jobs=1, data_folder=data_folder(request)))
    try:
        for options, verdict in (({}, "unproven"), ({"signature": "encode"}, "proven")):
            out = tmp_path / verdict
            out.mkdir()
            report = converter.convert(Source(files={path.name: path}), "onnx", options, out).result()["report"]
            assert report["verdict"] == verdict, report["reason"]
            assert len(report["lost"]) == (0 if options else 1)
    finally:
        converter.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_signature_that_is_not_there_is_refused(tmp_path: Path, tensorflow: Jobs) -> None:
    file = str(CASES / "04-savedmodel-second-signature.zip")
    given = {"file": file, "target": "onnx", "options": {"signature": "encode"}, "folder": str(tmp_path)}
    with pytest.raises(InvalidValue, match="serving_default, embed"):
        tensorflow.submit("tests.convert.edge_run:compare", given, limits=LIMITS).result()


SAVED = [  # kind, options, a part of what is lost, of the error
    ("captured", {}, "", ""),
    ("table", {}, "", ""),
    ("keras", {}, "", ""),
    ("two", {}, "'encode' was left out; choose it with signature=encode", ""),
    ("two", {"signature": "encode"}, "", ""),
    ("counter", {}, "", "updates its state"),
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "options", "lost", "why"), SAVED, ids=lambda v: str(v)[:20])
def test_saved_models_of_all_kinds(
    kind: str, options: dict[str, Any], lost: str, why: str, tmp_path: Path, tensorflow: Jobs
) -> None:
    given = {"kind": kind, "folder": str(tmp_path), "options": options}
    job = tensorflow.submit("tests.convert.tf_models:made", given, limits=LIMITS)
    if why:
        with pytest.raises(InvalidFile, match=why):
            job.result()
        return
    found = job.result()
    assert found["said"]["lost"] == [] if not lost else lost in found["said"]["lost"][0]
    assert found["errors"] and max(found["errors"].values()) <= FP32


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("target", "most"), [("tflite-fp16", FP32), ("tflite-int8", 0.1)])
def test_smaller_tflite_files_become_onnx(target: str, most: float, tmp_path: Path, tensorflow: Jobs) -> None:
    """Their operators' codes stand in one field only, and what is made of tensors is called as others already are."""
    from lib.convert.edges.tflite_to_tflite_int8 import STATIC
    from tests.convert.tflite_models import dense

    folder, *_ = dense(tmp_path / "a", width=64)
    options = {"activations": STATIC} if target == "tflite-int8" else {}
    edge_run.convert("tflite", target, folder, tmp_path / "b", **options)
    (tmp_path / "c").mkdir()
    given = {"file": str(tmp_path / "b" / "model.tflite"), "target": "onnx", "options": {}, "folder": str(tmp_path / "c")}
    found = tensorflow.submit("tests.convert.edge_run:compare", given, limits=LIMITS).result()
    assert found["said"].get("precision") == ("int8" if options else None)
    assert max(found["errors"].values()) <= most


def judge(row: Row, found: dict[str, Any]) -> None:
    """``error`` of every output, as a share of its range: none above the row's, and where it is infinite, one is NaN."""
    _, _, _, wanted, most = row
    for name, value in wanted.items():
        if isinstance(value, str) and name in ("lost", "messages"):
            assert any(value in sentence for sentence in found["said"][name]), found["said"]
        else:
            assert found["said"].get(name, [] if name == "lost" else {}) == value
    assert found["errors"] and found["cases"] > (0 if row[1] == "safetensors" else 4)
    if most == np.inf:
        assert any(np.isnan(e) for e in found["errors"].values()) and not all(np.isnan(e) for e in found["errors"].values())
    else:
        assert all(e <= most for e in found["errors"].values()), found["errors"]


def test_every_signature_of_a_tflite_file_is_run(tmp_path: Path) -> None:
    admit_upload({"a.tflite": CASES / "03-tflite-two-signatures.tflite"}, tmp_path)
    runner = load("tflite", tmp_path)
    assert {v.name for v in runner.signature().inputs} == {"encode/x", "decode/x"}
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    both = runner.run({"encode/x": x, "decode/x": -x})
    assert {name: a.shape for name, a in both.items()} == {"encode/y": (2, 3), "decode/z": (2, 2)}
    signatures.choose(tmp_path, "encode")
    one = load("tflite", tmp_path)
    assert [v.name for v in one.signature().inputs] == ["x"]
    np.testing.assert_array_equal(one.run({"x": x})["y"], both["encode/y"])
    signatures.choose(tmp_path, "other")
    with pytest.raises(InvalidValue, match="decode, encode"):
        load("tflite", tmp_path)


def test_what_is_float16_already_is_not_cast_again(tmp_path: Path) -> None:
    from tests.convert.tflite_models import dense

    folder, *_ = dense(tmp_path / "a", width=64)
    assert edge_run.convert("tflite", "tflite-fp16", folder, tmp_path / "b")["lost"] == []
    again = edge_run.convert("tflite", "tflite-fp16", tmp_path / "b", tmp_path / "c")
    assert "float16 already" in again["unchanged"] and not (tmp_path / "c" / "model.tflite").exists()
    edge_run.convert("tflite", "tflite-int8", folder, tmp_path / "d")
    assert "already quantised" in edge_run.convert("tflite", "tflite-fp16", tmp_path / "d", tmp_path / "e")["unchanged"]


def test_an_older_file_is_cast_too(tmp_path: Path) -> None:
    """AI Edge Quantizer alone takes each of its operators for an addition and changes nothing, without a word."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from lib.tflite import file as tflite_file
    from tests.convert.tflite_models import dense

    folder, *_ = dense(tmp_path / "a", width=64)
    path = folder / tflite_file.NAME
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for code in model.operatorCodes:
        code.builtinCode = 0
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    edge_run.convert("tflite", "tflite-fp16", folder, tmp_path / "b")
    held = tflite_weights.stored_bytes(tflite_file.read(tmp_path / "b" / tflite_file.NAME))
    assert held[tflite_weights.FLOAT16] == 2 * 4 * 64


def test_arrays_of_numpy_are_tensors_and_objects_are_not(tmp_path: Path) -> None:
    import torch

    from lib.convert.formats.weights.runner import read_checkpoint

    turned = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    given = {"w": torch.ones(2), "turned": turned, "big": np.arange(3, dtype=">i4"), "empty": np.zeros((0, 3))}
    left = {"object": np.array([{}], object), "text": np.array(["a"]), "scalar": np.float32(3), "path": Path("a")}
    torch.save(given | left, tmp_path / "a.pt")
    (tmp_path / "out").mkdir()
    admit_upload({"a.pt": tmp_path / "a.pt"}, tmp_path / "out")
    tensors, messages = read_checkpoint(tmp_path / "out" / "model.pt")
    assert messages == ["Not tensors, left out: object, text, scalar, path."]
    assert list(tensors) == list(given)
    assert tensors["turned"].tolist() == turned.tolist() and tensors["big"].tolist() == [0, 1, 2]
    assert tensors["empty"].shape == (0, 3)


def test_an_array_that_lies_about_its_size_is_refused() -> None:
    array = numpy_pickles.Array()
    with pytest.raises(InvalidFile, match="its declared size"):
        array.__setstate__((1, (1 << 40,), numpy_pickles.Dtype("f4"), False, b"abcd"))


def test_inputs_keep_their_axes_by_force() -> None:
    import onnxruntime
    from onnx import TensorProto, checker, helper

    from lib.convert.tools import onnx2tf as onnx2tf_tool

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["N", 5, 1]), ("y", ["N", 1, 5]))]
    graph = helper.make_graph([helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx2tf_tool._keep_input(model.graph, model.graph.input[0], 0)
    checker.check_model(model, full_check=True)
    assert [n.op_type for n in model.graph.node] == ["Reshape", "Reshape", "Transpose"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.arange(10, dtype=np.float32).reshape(2, 5, 1)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x.transpose(0, 2, 1))


def test_edges_with_one_signature_let_choose_it() -> None:
    for source in ("tflite", "saved-model"):
        option = next(o for o in edges()[source, "onnx"].options if o.name == "signature")
        assert option.kind == "text" and option.default == ""
