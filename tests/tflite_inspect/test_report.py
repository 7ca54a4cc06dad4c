"""The report of a TensorFlow Lite file: counted, named, or said to be unknown."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InvalidFile, InvalidValue
from lib.tflite import metadata
from lib.tflite_inspect import tasks
from lib.tflite_inspect.markdown import markdown
from lib.tflite_inspect.report import facts, quantised, shortened, verdict
from lib.tflite_inspect.summary import report
from tests.convert.tflite_models import dense
from tests.tflite.files import classifier
from tests.tflite_inspect.make import Op, Tensor, weight, write


def quiet(*_: object) -> None:
    pass


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """The classifier with metadata."""
    classifier(tmp_path / "plain.tflite")
    told = metadata.classifier(
        ["cat", "dog", "bird", "fish"], name="Animals", author="Ada", license="MIT", mean=[127.5], std=[127.5]
    )
    metadata.write(tmp_path / "plain.tflite", tmp_path / "animals.tflite", told)
    return tmp_path / "animals.tflite"


def test_a_file_of_the_converter(tmp_path: Path) -> None:
    path = dense(tmp_path)[0] / "model.tflite"
    found = report(path, "dense.tflite", {})
    assert found["format"] == "tflite" and found["valid"] and found["operators"] == {"FULLY_CONNECTED": 1}
    assert found["macs"] == 8 * 4 and found["sizes"] == {"batch": 1} and "batch = 1" in found["sizes_note"]
    assert found["parameters"]["by_dtype"] == {"float32": {"count": 36, "bytes": 144}}
    assert [i["name"] for i in found["initializers"]] == ["weights", "bias"]
    assert found["initializers"][0]["used_by"] == ["FULLY_CONNECTED_0"]
    assert [(v["name"], v["shape"]) for v in (*found["inputs"], *found["outputs"])] == [
        ("x", ["batch", 8]),
        ("y", ["batch", 4]),
    ]
    assert [s["key"] for s in found["signatures"]] == ["serving_default"]
    assert [t["kind"] for t in found["tensors"]] == ["input", "weight", "weight", "output"]
    assert found["memory"]["peak_bytes"] == 4 * (8 + 4) and found["memory"]["over_nodes"] == [48]
    assert report(path, "dense.tflite", {"batch": 5})["macs"] == 5 * 8 * 4
    with pytest.raises(InvalidValue, match="batch"):
        report(path, "dense.tflite", {"width": 5})
    json.dumps(found, allow_nan=False)


def test_what_the_file_does_not_say_is_unknown(tmp_path: Path) -> None:
    found = report(dense(tmp_path)[0] / "model.tflite", "dense.tflite", {})
    assert not found["metadata"]["present"] and "unknown" in facts(found)["Metadata"]
    assert "version needed: unknown" in facts(found)["Format"] and facts(found)["Quantisation"] == "none"
    assert [p["rule"] for p in found["problems"]] == ["no-metadata"] and verdict(found) == "Valid, 1 note."


def test_metadata_are_told(animals: Path) -> None:
    found = report(animals, "animals.tflite", {})
    told = found["metadata"]
    assert told["present"] and told["labels"] == ["cat", "dog", "bird", "fish"] and told["mean"] == [127.5]
    lines = facts(found)
    assert lines["Author"] == "Ada" and lines["Licence"] == "MIT" and lines["Version"] == "unknown"
    assert lines["Labels"] == "4: cat, dog, bird, fish" and "127.5" in lines["Normalization"]
    words = markdown(found)
    assert "| Author | Ada |" in words and "`cat`, `dog`" in words and "| FULLY\\_CONNECTED | 1 | 12 |" in words


def test_quantisation_parameters(tmp_path: Path) -> None:
    tensors = [
        Tensor("x", [1, 4], "int8", scale=[0.5], zero=[-3]),
        weight("w", [3, 4], "int8", scale=[0.1, 0.2, 0.3], zero=[0, 0, 0]),
        weight("b", [3], "int32", scale=[0.05, 0.1, 0.15], zero=[0, 0, 0]),
        Tensor("y", [1, 3], "int8", scale=[0.25], zero=[7]),
    ]
    path = write(tmp_path / "m.tflite", tensors, [Op("FULLY_CONNECTED", [0, 1, 2], [3], "FullyConnectedOptions")], [0], [3])
    found = report(path, "m.tflite", {})
    said = [quantised(t["quantization"]) for t in found["tensors"]]
    assert said[0] == "scale 0.5, zero point -3" and said[3] == "scale 0.25, zero point 7"
    assert said[1] == "3 scales along axis 0 (0.1 to 0.3), zero point 0"
    assert found["parameters"]["quantized"] == 12 + 12 and found["inputs"][0]["quantization"]["scale"] == [0.5]
    assert "100% of the bytes of weights, per channel" in facts(found)["Quantisation"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": [0.0], "zero": [0]}, "not positive"),
        ({"scale": [float("nan")], "zero": [0]}, "not positive"),
        ({"scale": [0.1], "zero": [300]}, "not int8"),
        ({"scale": [0.1, 0.2], "zero": [0, 0]}, "2 scales along axis 0"),
    ],
)
def test_odd_quantisation_is_a_problem(change: dict, words: str, tmp_path: Path) -> None:
    tensors = [Tensor("x", [1, 4]), weight("w", [3, 4], "int8", **change), Tensor("y", [3, 4])]
    path = write(tmp_path / "m.tflite", tensors, [Op("DEQUANTIZE", [1], [2], "DequantizeOptions")], [0], [2])
    found = report(path, "m.tflite", {})
    assert any(words in p["message"] and p["where"] == "w" for p in found["problems"]), found["problems"]
    json.dumps(found, allow_nan=False)


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    odd = Tensor("w", [2, 2], "float32", np.array([[1, np.inf], [np.nan, 2]], np.float32))
    tensors = [Tensor("x", [1, 2]), odd, Tensor("y", [1, 2])]
    path = write(tmp_path / "m.tflite", tensors, [Op("FULLY_CONNECTED", [0, 1, -1], [2], "FullyConnectedOptions")], [0], [2])
    (problem,) = (p for p in report(path, "m.tflite", {})["problems"] if p["rule"] == "not-finite")
    assert problem["where"] == "w" and problem["message"] == "2 of its 4 values are not finite"


@pytest.mark.parametrize("keep", [8, 20, 200, 700])
def test_cut_files(keep: int, tmp_path: Path) -> None:
    classifier(tmp_path / "m.tflite")
    (tmp_path / "cut.tflite").write_bytes((tmp_path / "m.tflite").read_bytes()[:keep])
    with pytest.raises(InvalidFile, match=r"damaged|cut off|Not a TensorFlow Lite"):
        tasks.inspect(quiet, str(tmp_path / "cut.tflite"), "cut.tflite", {})


def test_a_wrong_file_says_what_it_is_not(tmp_path: Path) -> None:
    for data, words in (
        (b"no model, only words in a file that is called like one", "it is text"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "it is "),
        (bytes(range(128, 228)), "the identifier TFL3 is missing"),
        (b"", "it is empty"),
    ):
        (tmp_path / "wrong.tflite").write_bytes(data)
        with pytest.raises(InvalidFile, match=f"Not a TensorFlow Lite file: {words}"):
            tasks.inspect(quiet, str(tmp_path / "wrong.tflite"), "wrong.tflite", {})


def test_a_bundle(animals: Path, tmp_path: Path) -> None:
    small = dense(tmp_path / "d")[0] / "model.tflite"
    with zipfile.ZipFile(tmp_path / "hands.task", "w") as file:
        file.write(animals, "detector.tflite")
        file.write(small, "landmarks.tflite")
        file.writestr("notes.txt", "not a model")
    out = tmp_path / "out"
    out.mkdir()
    found = tasks.inspect(quiet, str(tmp_path / "hands.task"), "hands.task", {}, str(out))
    assert found["bundle"]["member"] == "detector.tflite" and found["macs"] == 12  # the larger one
    assert [m["name"] for m in found["bundle"]["members"]] == ["detector.tflite", "landmarks.tflite"]
    assert facts(found)["Bundle"] == "detector.tflite of hands.task"
    assert (out / "member.tflite").read_bytes() == animals.read_bytes() == (out / "graph.tflite").read_bytes()
    other = tasks.inspect(quiet, str(tmp_path / "hands.task"), "hands.task", {}, member="landmarks.tflite")
    assert other["macs"] == 32 and other["file"]["name"] == "landmarks.tflite"
    with pytest.raises(InvalidValue, match=r"detector\.tflite, landmarks\.tflite"):
        tasks.inspect(quiet, str(tmp_path / "hands.task"), "hands.task", {}, member="notes.txt")
    with zipfile.ZipFile(tmp_path / "empty.task", "w") as file:
        file.writestr("notes.txt", "not a model")
    with pytest.raises(InvalidFile, match="zip archive without TensorFlow Lite files"):
        tasks.inspect(quiet, str(tmp_path / "empty.task"), "empty.task", {})


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a job has one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_edited_and_read_back(animals: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.tflite"
    found = tasks.edit(quiet, str(animals), "new.tflite", {"author": "Grace", "labels": list("abcd")}, str(target))
    assert found["metadata"]["author"] == "Grace" and found["metadata"]["labels"] == list("abcd")
    assert found["metadata"]["license"] == "MIT" and found["macs"] == 12  # what was not named stays
    again = metadata.read(target)
    assert again is not None and again.author == "Grace" and again.mean == (127.5,)
    with pytest.raises(InvalidValue, match="labels"):
        tasks.edit(quiet, str(animals), "new.tflite", {"labels": ["one"]}, str(target))
    with pytest.raises(InvalidValue, match="author"):
        tasks.edit(quiet, str(animals), "new.tflite", {"writer": "Grace"}, str(target))


def test_the_values_of_a_weight(animals: Path) -> None:
    found = tasks.tensor(quiet, str(animals), "weights")
    assert found["count"] == 12 and found["dtype"] == "float32" and sum(found["histogram"]["counts"]) == 12
    with pytest.raises(InvalidValue, match="tensors with values"):
        tasks.tensor(quiet, str(animals), "nothing")


def test_a_big_file_goes_to_the_viewer_without_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.tflite import file as tflite_file
    from lib.tflite_inspect import viewer

    path = dense(tmp_path, width=64)[0] / "model.tflite"
    monkeypatch.setattr(viewer, "WHOLE", 100)
    viewer.write(path, tmp_path)
    shown = tflite_file.read(tmp_path / "graph.tflite")
    assert (tmp_path / "graph.tflite").stat().st_size < path.stat().st_size / 2
    assert [t["name"] for t in shown["subgraphs"][0]["tensors"]] == ["x", "weights", "bias", "y"]


def test_a_program_gets_the_first_labels_and_their_number() -> None:
    labels = [str(k) for k in range(2500)]
    whole = {"format": "tflite", "metadata": {"labels": labels, "author": "Ada"}}
    found = shortened(whole)["metadata"]
    assert found == {"labels": labels[:1000], "labels_count": 2500, "author": "Ada"}
    assert whole["metadata"]["labels"] == labels
    for other in ({"format": "onnx", "metadata": {"a": "b"}}, {"format": "tflite", "metadata": None}):
        assert shortened(other) == other
