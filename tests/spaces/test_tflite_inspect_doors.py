"""TensorFlow Lite files through the inspector's doors: the same endpoints as ONNX, chosen by content, and edit_metadata."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from lib.onnx_inspect.examples import EXAMPLES
from lib.tflite import metadata
from tests.convert.tflite_models import dense
from tests.tflite.files import classifier

LABELS = ["cat", "dog", "bird", "fish"]


@pytest.fixture(scope="module")
def client(inspector: str) -> Client:
    return Client(inspector, verbose=False)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    classifier(tmp_path / "animals.tflite")
    return tmp_path / "animals.tflite"


def test_one_endpoint_for_both_formats(client: Client, animals: Path, tmp_path: Path) -> None:
    """By content: the names lie."""
    lying = tmp_path / "model.onnx"
    lying.write_bytes(animals.read_bytes())
    for path in (animals, lying):
        report = client.predict(file=handle_file(path), api_name="/inspect_onnx")
        assert report["format"] == "tflite" and report["valid"] and report["macs"] == 12
        assert report["operators"] == {"MEAN": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1}
    (tmp_path / "digits.onnx").write_bytes(EXAMPLES["digits"]().SerializeToString())
    assert client.predict(file=handle_file(tmp_path / "digits.onnx"), api_name="/inspect_onnx")["format"] == "onnx"


def test_run(client: Client, animals: Path, tmp_path: Path) -> None:
    found = client.predict(file=handle_file(animals), seed=3, runs=4, api_name="/run_onnx")
    assert found["agree"] and found["litert"]["runs"] == 4 and found["seed"] == 3
    assert sum(found["outputs"][0]["values"][0]) == pytest.approx(1, abs=1e-5)
    Image.new("RGB", (20, 20), (250, 30, 30)).save(tmp_path / "red.png")
    given = {"file": handle_file(animals), "samples": handle_file(tmp_path / "red.png")}
    own = client.predict(**given, preprocessing="normalization=0..1", api_name="/run_onnx")
    assert own["agree"] and own["samples"]["preprocessing"]["normalization"] == "0..1"
    folder, weights, bias = dense(tmp_path)
    x = np.ones((2, 8), np.float32)
    typed = client.predict(
        file=handle_file(folder / "model.tflite"), values=json.dumps({"x": x.tolist()}), api_name="/run_onnx"
    )
    np.testing.assert_allclose(typed["outputs"][0]["values"], np.maximum(x @ weights.T + bias, 0), rtol=1e-4)
    assert client.predict(file=handle_file(animals), tensor="weights", api_name="/weights_onnx")["count"] == 12


def test_edit_metadata(client: Client, animals: Path) -> None:
    changes = {"author": "Ada", "labels": LABELS, "mean": [127.5], "std": [127.5], "license": "MIT"}
    path, told = client.predict(file=handle_file(animals), changes=changes, api_name="/edit_metadata")
    assert told["author"] == "Ada" and told["labels"] == LABELS and told["present"]
    read = metadata.read(Path(path))
    assert read is not None and (read.author, read.license, read.labels) == ("Ada", "MIT", tuple(LABELS))
    again, told = client.predict(file=handle_file(path), changes={"author": "Grace"}, api_name="/edit_metadata")
    assert told["author"] == "Grace" and told["labels"] == LABELS and metadata.read(Path(again)) is not None
    found = client.predict(file=handle_file(again), api_name="/run_onnx")
    assert {t["label"] for t in found["top"]} == set(LABELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"writer": "Ada"}, "author"), ({"labels": ["one"]}, "labels"), ({}, "changes"), ({"std": [0]}, "std")],
)
def test_wrong_changes(client: Client, animals: Path, changes: dict, message: str) -> None:
    with pytest.raises(AppError, match=message):
        client.predict(file=handle_file(animals), changes=changes, api_name="/edit_metadata")


def test_bad_files_are_answered(client: Client, animals: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.task", "w") as bundle:
        bundle.writestr("notes.txt", "nothing")
    (tmp_path / "cut.tflite").write_bytes(animals.read_bytes()[:500])
    (tmp_path / "text.tflite").write_text("these are words and no model at all")
    (tmp_path / "digits.onnx").write_bytes(EXAMPLES["digits"]().SerializeToString())
    for name, message in (
        ("cut.tflite", "damaged or cut off"),
        ("text.tflite", "it is text"),
        ("empty.task", "zip archive"),
    ):
        with pytest.raises(AppError, match=message) as caught:
            client.predict(file=handle_file(tmp_path / name), api_name="/inspect_onnx")
        assert "/tmp" not in str(caught.value) and "Traceback" not in str(caught.value)
    with pytest.raises(AppError, match="only ONNX models can be shown as text"):
        client.predict(file=handle_file(animals), api_name="/show_onnx")
    both = {"old": handle_file(animals), "new": handle_file(tmp_path / "digits.onnx")}
    with pytest.raises(AppError, match="only ONNX models can be compared"):
        client.predict(**both, api_name="/compare_onnx")
    with pytest.raises(AppError, match="Only TensorFlow Lite files have metadata"):
        client.predict(file=handle_file(tmp_path / "digits.onnx"), changes={"author": "x"}, api_name="/edit_metadata")


def test_rest(inspector: str, animals: Path, tmp_path: Path) -> None:
    data = animals.read_bytes()
    report = httpx.post(f"{inspector}/inspect-onnx", content=data, timeout=60).json()
    assert report["format"] == "tflite" and report["file"]["name"] == "model.tflite" and report["macs"] == 12
    assert httpx.post(f"{inspector}/run-onnx?runs=2", content=data, timeout=60).json()["agree"]
    form = {"changes": json.dumps({"author": "Ada", "labels": LABELS})}
    answer = httpx.post(f"{inspector}/edit-metadata", files={"file": ("a.tflite", data)}, data=form, timeout=60)
    assert answer.status_code == 200 and 'filename="a.tflite"' in answer.headers["content-disposition"]
    (tmp_path / "new.tflite").write_bytes(answer.content)
    read = metadata.read(tmp_path / "new.tflite")
    assert read is not None and read.author == "Ada" and read.labels == tuple(LABELS)
    older = httpx.post(f"{inspector}/edit_metadata", files={"file": ("a.tflite", data)}, data=form, timeout=60)
    assert older.content == answer.content and "/edit_metadata" not in httpx.get(f"{inspector}/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"files": {"file": b""}, "data": {"changes": '{"author": "a"}'}}, "and this is not one. Send a .tflite"),
        ({"files": [("file", b"x"), ("file", b"y")], "data": {"changes": "{}"}}, "The form has 2 files"),
        ({"files": {"file": b"x"}, "data": {"changes": "[1]"}}, "an object as JSON"),
        ({"files": {"file": b"x"}}, "an object as JSON"),
        ({"files": {"file": b"x", "other": b"y"}, "data": {"changes": "{}"}}, "allowed: file"),
        ({"files": {"file": ("m.tflite", b"x" * 50)}, "data": {"changes": '{"author": "a"}'}}, "Not a TensorFlow Lite file"),
        ({"content": b"x"}, "Send a form"),
        ({"content": b"x", "params": {"author": "Ada"}}, "send the changes in the form"),
    ],
)
def test_rest_errors(inspector: str, form: dict, message: str) -> None:
    answer = httpx.post(f"{inspector}/edit-metadata", **form, timeout=60)
    assert answer.status_code == 422
    assert message in answer.json()["error"]
