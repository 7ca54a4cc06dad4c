"""A trained classifier leaves through its doors: gradio_client and REST, to a file that MediaPipe runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from lib.settings import Settings
from lib.train.edge import export_store
from tests.spaces.conftest import serve
from tests.train.conftest import shapes

pytestmark = pytest.mark.timeout(1200)
VISITOR = "a key that nobody guesses"
GONE = "20200101-000000-x-0123456789abcdef"


@pytest.fixture(scope="module")
def app(settings: Settings, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator:
    """The converter's environments are kept from one session to the next."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("exporter")
        environments = Path(os.environ.get("DATA_FOLDER") or request.config.cache.mkdir("workbench")) / "environments"
        environments.mkdir(parents=True, exist_ok=True)
        (home / "data").mkdir()
        (home / "data" / "environments").symlink_to(environments)
        yield from serve(replace(settings, data_folder=home / "data"), patch, home / "gradio", ("train",))


@pytest.fixture(scope="module")
def client(app) -> Client:  # type: ignore[no-untyped-def]
    return Client(app.address, verbose=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes(tmp_path_factory.mktemp("shapes"), 20)


@pytest.fixture(scope="module")
def run(client: Client, pictures: Path) -> str:
    archive = shutil.make_archive(str(pictures.parent / "shapes"), "zip", pictures.parent, "pictures")
    given = {"file": handle_file(archive), "epochs": 8, "image_size": 48, "technique": "feature_extraction"}
    id, report = client.predict(**given, options={"validation": 0.3}, visitor=VISITOR, api_name="/train")
    assert report["status"] == "done"
    return id


@pytest.mark.slow
def test_from_a_run_to_mediapipe(client: Client, app, run: str, pictures: Path) -> None:  # type: ignore[no-untyped-def]
    import mediapipe as mp
    from mediapipe.tasks import python
    from mediapipe.tasks.python import vision

    job = client.submit(run=run, target="tflite", api_name="/export_classifier")
    file, report = job.result(timeout=900)
    seen = [answer[1]["progress"] for answer in job.outputs() if "progress" in answer[1]]
    assert any("Exporting to ONNX" in words for words in seen) and any("Comparing" in words for words in seen)
    assert report["verdict"] == "proven" and report["run"] == run and list(report["rows"]) == ["onnx", "tflite"]
    assert report["accuracy"] is not None and report["count"] == 18 and report["mediapipe"] is True
    options = vision.ImageClassifierOptions(base_options=python.BaseOptions(model_asset_path=file), max_results=1)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        paths = sorted(pictures.glob("*/0[0-4].png"))
        found = [classifier.classify(mp.Image.create_from_file(str(path))) for path in paths]
    names = [one.classifications[0].categories[0].category_name for one in found]
    assert sum(name == path.parent.name for name, path in zip(names, paths, strict=True)) >= 13
    address = app.address
    answer = httpx.post(f"{address}/export-classifier", json={"run": run, "target": "tflite"}, timeout=60)
    assert answer.status_code == 200 and answer.json()["report"]["sha256"] == report["sha256"]
    given = httpx.get(f"{address}/{answer.json()['file'].removeprefix('./')}")
    assert given.status_code == 200 and given.content == Path(file).read_bytes()
    said = [
        httpx.post(f"{address}/classify", params={"run": run, "runtime": name}, content=paths[0].read_bytes(), timeout=120)
        for name in ("pytorch", "onnxruntime", "litert", "mediapipe")
    ]
    assert [one.json().get("file") for one in said] == [None, "model.onnx", "model.tflite", "model.tflite"]
    assert f'filename="{run}-model.tflite"' in given.headers["content-disposition"]
    rows = httpx.get(f"{address}/export-classifier/{run}").json()
    assert {"onnx", "tflite"} == rows.keys() and rows["tflite"]["verdict"] == "proven"


def test_what_the_doors_refuse(app, client: Client, run: str) -> None:  # type: ignore[no-untyped-def]
    door = f"{app.address}/export-classifier"
    for answer, status, words in (
        (httpx.post(door, json={"run": run, "target": "coreml"}), 422, "target was 'coreml'; allowed: onnx, tflite"),
        (httpx.post(door, json={"run": GONE}), 404, "There is no run"),
        (httpx.post(door, json={"run": "../x"}), 422, "run was '../x'"),
        (httpx.post(door, json={"run": 3}), 422, "run was 3"),
        (httpx.post(door, json={"run": run, "targets": "onnx"}), 422, "field was 'targets'; allowed: run, target"),
        (httpx.post(door, json=[run]), 422, "Send JSON"),
        (httpx.post(door, content=b"no json"), 422, "Send JSON"),
        (httpx.post(f"{door}?run={run}", json={"run": run}), 422, "query was 'run'"),
        (httpx.get(f"{door}/{GONE}"), 404, "There is no run"),
        (httpx.get(f"{app.address}/export_classifier/{GONE}"), 404, "There is no run"),  # the older spelling
        (httpx.post(f"{app.address}/export_classifier", json={"run": GONE}), 404, "There is no run"),
        (httpx.get(f"{door}/{run}/coreml"), 422, "target was 'coreml'"),
        (httpx.get(f"{door}/{run}/tflite-int8"), 404, "no file for tflite-int8 (yet)"),
        (httpx.get(f"{door}/{run}/..%2frun.json"), 404, ""),
    ):
        assert answer.status_code == status and words in answer.text, answer.text
        assert "/tmp" not in answer.text
    with pytest.raises(AppError) as found:
        client.predict(run=run, target="coreml", api_name="/export_classifier")
    assert "target was 'coreml'" in str(found.value)


def test_a_withheld_file_is_not_to_be_had(app, run: str) -> None:  # type: ignore[no-untyped-def]
    """The record says so; no door has the file, though one lies there."""
    found = app.tabs[0].trainer.find(run)
    row: dict[str, Any] = {"target": "tflite-fp16", "verdict": "withheld", "why": "It disagrees."}
    exports = found.read().get("exports") or {}
    found.update(exports=exports | {"tflite-fp16": row | {"weights": export_store.weights_sha256(found)}})
    (found.folder / "exports").mkdir(exist_ok=True)
    (found.folder / "exports").mkdir(exist_ok=True)
    (found.folder / "exports" / "model-fp16.tflite").write_bytes(b"x")
    rows = httpx.get(f"{app.address}/export-classifier/{run}").json()
    assert rows["tflite-fp16"]["why"] == "It disagrees."
    answer = httpx.get(f"{app.address}/export-classifier/{run}/tflite-fp16")
    assert answer.status_code == 404 and "no file for tflite-fp16" in answer.text
