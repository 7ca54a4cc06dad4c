"""The trainer through its doors, as a client meets it: gradio_client, curl's REST, TensorBoard's address."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from lib.settings import Settings
from tests.spaces.conftest import serve
from tests.train.conftest import shapes

VISITOR = "a key that nobody guesses"
GONE, STRANGER = "a client that goes away", "somebody else altogether"
QUICK = {"epochs": 1, "image_size": 32, "batch_size": 8}


@pytest.fixture(scope="module")
def app(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("trainer")
        yield from serve(replace(settings, data_folder=home / "data"), patch, home / "gradio", ("train",))


@pytest.fixture(scope="module")
def client(app) -> Client:  # type: ignore[no-untyped-def]
    return Client(app.address, verbose=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def trained(client: Client, pictures: Path) -> tuple[str, dict[str, Any]]:
    """A run of an uploaded zip, made through the API."""
    archive = shutil.make_archive(str(pictures.parent / "shapes"), "zip", pictures.parent, "pictures")
    given = {"file": handle_file(archive), "epochs": 3, "image_size": 48, "batch_size": 8, "name": "mine"}
    run, report = client.predict(**given, visitor=VISITOR, api_name="/train")
    return run, report


def test_the_contract(client: Client, trained: tuple[str, dict[str, Any]]) -> None:
    run, report = trained
    assert {"accuracy", "interval", "seconds"} <= report.keys() and report["status"] == "done" and report["id"] == run
    assert report["interval"][0] <= report["accuracy"] <= report["interval"][1]
    assert report["recipe"]["epochs"] == 3 and report["data"]["count"] == 42 and len(report["epochs"]) == 3
    assert [r["id"] for r in client.predict(visitor=VISITOR, api_name="/runs")] == [run]
    assert client.predict(run=run, api_name="/run")["weights"]["source"].startswith("efficientnet-lite0")
    named = {name: p["parameters"] for name, p in client.view_api(return_format="dict")["named_endpoints"].items()}
    assert {"/classify", "/monitor", "/reproduce", "/run", "/runs", "/train", "/truth"} <= set(named)
    given = [p["parameter_name"] for p in named["/train"]]
    assert given[:8] == ["file", "dataset", "backbone", "technique", "epochs", "batch_size", "learning_rate", "image_size"]


def test_progress_is_streamed(client: Client) -> None:
    job = client.submit(dataset="digits", epochs=1, technique="feature_extraction", image_size=32, api_name="/train")
    _, report = job.result(timeout=300)
    seen = [answer[1]["progress"] for answer in job.outputs() if "progress" in answer[1]]
    assert any("Computing features" in words for words in seen), seen
    assert report["result"]["on"] == "test" and report["result"]["count"] == 359
    assert report["data"]["name"] == "digits"


def test_classify(client: Client, app, trained: tuple[str, dict[str, Any]], pictures: Path) -> None:  # type: ignore[no-untyped-def]
    run, _ = trained
    paths = sorted(pictures.glob("*/0[0-3].png"))
    rows = client.predict(run=run, pictures=[handle_file(p) for p in paths], api_name="/classify")
    assert len(rows) == 12 and {"label", "score", "milliseconds"} <= rows[0].keys()
    assert sum(row["label"] == path.parent.name for row, path in zip(rows, paths, strict=True)) >= 9
    answer = httpx.post(f"{app.address}/classify?run={run}", content=paths[0].read_bytes(), timeout=60)
    assert answer.status_code == 200 and answer.json()["label"] == rows[0]["label"]


@pytest.mark.slow
def test_reproduce(client: Client, trained: tuple[str, dict[str, Any]]) -> None:
    found = client.predict(run=trained[0], api_name="/reproduce")
    assert found["verdict"] == "identical" and found["of"] == trained[0] and found["differences"] == []


def test_a_client_that_goes_away_stops_its_training(client: Client, app) -> None:  # type: ignore[no-untyped-def]
    job = client.submit(dataset="objects", epochs=900, image_size=32, visitor=GONE, api_name="/train")
    deadline = time.monotonic() + 200
    while not any(r["status"] == "running" for r in client.predict(visitor=GONE, api_name="/runs")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    job.cancel()
    while client.predict(visitor=GONE, api_name="/runs")[0]["status"] != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "either a zip of pictures"),
        ({"dataset": "cifar"}, "dataset was 'cifar'; allowed: objects, digits"),
        ({"dataset": "hub:a/b"}, "dataset was 'hub:a/b'"),
        ({"dataset": "../../etc"}, "dataset was"),
        ({"dataset": "digits", "epochs": -3}, "epochs was -3"),
        ({"dataset": "digits", "backbone": "x"}, "backbone was 'x'; allowed: efficientnet_lite0"),
        ({"dataset": "digits", "options": {"lr": 1}}, "recipe was 'lr'"),
        ({"dataset": "digits", "mixed_precision": "fp16"}, "fp16 needs a CUDA device"),
    ],
)
def test_a_bad_request_is_named(client: Client, values: dict[str, Any], words: str) -> None:
    with pytest.raises(AppError) as found:
        client.predict(**values, api_name="/train")
    assert words in str(found.value)


def test_a_file_that_is_no_zip(client: Client, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(AppError) as found:
        client.predict(file=handle_file(tmp_path / "x.zip"), api_name="/train")
    assert "zip" in str(found.value) and str(tmp_path) not in str(found.value)


def test_rest_and_its_errors(app, trained: tuple[str, dict[str, Any]]) -> None:  # type: ignore[no-untyped-def]
    run, address = trained[0], app.address
    rows = httpx.get(f"{address}/runs", params={"visitor": VISITOR}).json()
    assert run in [row["id"] for row in rows]
    assert httpx.get(f"{address}/runs/{run}").json()["id"] == run
    gone = "20200101-000000-x-0123456789abcdef"
    for answer, status, words in (
        (httpx.get(f"{address}/runs"), 422, "visitor was ''"),
        (httpx.get(f"{address}/runs?all=1"), 422, "query was 'all'"),
        (httpx.get(f"{address}/runs?visitor=short"), 422, "16 characters or more"),
        (httpx.get(f"{address}/runs/{gone}"), 404, "There is no run"),
        (httpx.get(f"{address}/runs/..%2f..%2fetc"), 404, ""),
        (httpx.post(f"{address}/classify?run={gone}", content=b"x"), 404, "There is no run"),
        (httpx.post(f"{address}/classify?run=x", content=b"x"), 422, "run was 'x'"),
        (httpx.post(f"{address}/classify?run={run}", content=b""), 422, "The body is empty"),
        (httpx.post(f"{address}/classify?run={run}", content=b"no picture", timeout=60), 422, ""),
    ):
        assert answer.status_code == status, answer.text
        assert words in answer.text and "/tmp" not in answer.text
    assert httpx.get(f"{address}/runs", params={"visitor": STRANGER}).json() == []


def test_tensorboard_shows_a_visitor_s_own_runs_only(app, trained: tuple[str, dict[str, Any]]) -> None:  # type: ignore[no-untyped-def]
    trainer = app.tabs[0].trainer
    mine, other = (trainer.visitors.token(trainer.visitors.owner(f"visitor {key}")) for key in (VISITOR, STRANGER))
    with httpx.Client(base_url=app.address, timeout=60) as http:
        deadline = time.monotonic() + 30
        while trained[0] not in (runs := http.get(f"/tensorboard/{mine}/data/runs").json()):
            assert time.monotonic() < deadline, runs
            time.sleep(0.5)
        scalars = http.get(f"/tensorboard/{mine}/data/plugin/scalars/tags").json()
        assert "accuracy/validation" in scalars[trained[0]]
        assert http.get(f"/tensorboard/{other}/data/runs").status_code == 404
        assert http.get(f"/tensorboard/{'0' * 32}/data/runs").status_code == 404
