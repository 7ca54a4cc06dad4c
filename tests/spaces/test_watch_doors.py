"""A served run through its doors: REST, gradio_client and MCP's table of tools."""

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

TOKEN = "a token of the tests"
GONE = "20200101-000000-x-0123456789abcdef"


@pytest.fixture(scope="module")
def app(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("watched")
        own = replace(settings, data_folder=home / "data", metrics_token=TOKEN)
        yield from serve(own, patch, home / "gradio", ("train",))


@pytest.fixture(scope="module")
def client(app) -> Client:  # type: ignore[no-untyped-def]
    return Client(app.address, verbose=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(shapes(tmp_path_factory.mktemp("shapes"), 16).glob("*/*.png"))


@pytest.fixture(scope="module")
def run(client: Client, pictures: list[Path]) -> str:
    folder = pictures[0].parent.parent
    archive = shutil.make_archive(str(folder.parent / "shapes"), "zip", folder.parent, folder.name)
    given = {"file": handle_file(archive), "epochs": 2, "image_size": 48, "batch_size": 8}
    return client.predict(**given, visitor="a key that nobody guesses", api_name="/train")[0]


def test_answers_truths_and_the_monitor(app, run: str, pictures: list[Path]) -> None:  # type: ignore[no-untyped-def]
    with httpx.Client(base_url=app.address, timeout=120) as http:
        answer = http.post("/classify", params={"run": run}, content=pictures[0].read_bytes())
        assert answer.status_code == 200 and answer.headers["X-Request-Id"]
        row = answer.json()
        assert row["loading_ms"] > row["milliseconds"] > 0  # the first one
        form = http.post("/classify", params={"run": run}, files={"file": pictures[0].read_bytes()}).json()
        assert form["scores"] == row["scores"] and "loading_ms" not in form and form["id"] != row["id"]
        told = http.post(f"/classify/{row['id']}/truth", json={"label": "cross"})
        assert told.status_code == 200
        assert told.json() == {"id": row["id"], "label": row["label"], "truth": "cross", "right": row["label"] == "cross"}
        found = http.get("/monitor", params={"run": run}).json()
        assert found["requests"] == 2 and found["accuracy"]["count"] == 1 and found["accuracy"]["interval"][0] <= 1
        assert {"requests", "latency", "confidence", "accuracy", "drift", "proposal"} <= found.keys()
        assert "not accuracy" in found["confidence"]["says"] and "No picture" in found["stored"]


def test_the_api(client: Client, run: str, pictures: list[Path]) -> None:
    before = client.predict(run=run, api_name="/monitor")["requests"]
    rows = client.predict(run=run, pictures=[handle_file(p) for p in pictures[:3]], runtime="pytorch", api_name="/classify")
    assert len({row["id"] for row in rows}) == 3 and {"label", "score", "milliseconds"} <= rows[0].keys()
    assert client.predict(answer=rows[0]["id"], label="disc", api_name="/truth")["truth"] == "disc"
    found = client.predict(run=run, api_name="/monitor")
    assert found["requests"] == before + 3 and found["run"] == run
    with pytest.raises(AppError, match="label was 'fish'; allowed: a class of this run: cross, disc, stripes"):
        client.predict(answer=rows[0]["id"], label="fish", api_name="/truth")
    with pytest.raises(AppError, match="runtime was 'tpu'; allowed: pytorch, onnxruntime, litert, mediapipe"):
        client.predict(run=run, pictures=[handle_file(pictures[0])], runtime="tpu", api_name="/classify")


def test_errors(app, run: str, pictures: list[Path]) -> None:  # type: ignore[no-untyped-def]
    with httpx.Client(base_url=app.address, timeout=120) as http:
        picture = pictures[0].read_bytes()
        id = http.post("/classify", params={"run": run}, content=picture).json()["id"]
        truth = f"/classify/{id}/truth"
        before = http.get("/monitor", params={"run": run}).json()
        for answer, status, words in (
            (http.post(truth, json={"label": "fish"}), 422, "label was 'fish'"),
            (http.post(truth, json={"label": "x" * 50_000}), 422, "label was 'xxx"),
            (http.post(truth, json={"label": "x" * (1 << 20)}), 413, "limit of 1 MB"),
            (http.post(truth, json={"label": None}), 422, "label was None"),
            (http.post(truth, json={"label": ["disc"]}), 422, "label was"),
            (http.post(truth, json={"truth": "disc"}), 422, r"label is missing; send {\"label\": \"cat\"}"),
            (http.post(truth, json={"label": "disc", "more": 1}), 422, "field was 'more'; allowed: label."),
            (http.post(truth, json=["disc"]), 422, "an object such as"),
            (http.post(truth, content=b"\xff\xfe"), 422, "an object such as"),
            (http.post(truth, content=b"[" * 60_000), 422, "an object such as"),
            (http.post(truth, content=b""), 422, "an object such as"),
            (http.post(f"{truth}?run={run}", json={"label": "disc"}), 422, "query was 'run'"),
            (http.post(f"/classify/{id[:16]}{'0' * 32}/truth", json={"label": "disc"}), 404, "no answer with this id"),
            (http.post(f"/classify/{'0' * 48}/truth", json={"label": "disc"}), 404, "no answer with this id"),
            (http.post(f"/classify/{run}/truth", json={"label": "disc"}), 404, "no answer with this id"),
            (http.post("/classify/..%2f..%2fetc/truth", json={"label": "disc"}), 404, ""),
            (http.get(truth), 405, ""),
            (http.get(f"/monitor?run={GONE}"), 404, "There is no run"),
            (http.get("/monitor?run=x"), 422, "run was 'x'"),
            (http.get("/monitor"), 422, "run was ''"),
            (http.post(f"/classify?run={run}&runtime=tpu", content=picture), 422, "runtime was 'tpu'"),
            (http.post(f"/classify?run={run}&runtime=litert", content=picture), 404, "Export it to tflite first"),
            (http.post(f"/classify?run={run}", content=b"no picture"), 422, ""),
            (http.post(f"/classify?run={run}", content=b""), 422, "The body is empty. Send a picture"),
            (http.post(f"/classify?run={run}", files=[("a", picture), ("b", picture)]), 422, "The form has 2 files"),
            (http.post(f"/classify?run={run}", files={"file": picture}, data={"run": run}), 422, "field was 'run'"),
        ):
            assert answer.status_code == status, (answer.text, words)
            assert words in answer.text and "/tmp" not in answer.text and len(answer.text) < 400
        after = http.get("/monitor", params={"run": run}).json()
    assert after["accuracy"]["count"] == before["accuracy"]["count"] and after["requests"] == before["requests"]
    assert after["unreadable"] == before["unreadable"] + 1


def test_metrics_name_no_visitor_no_class_and_no_run(app, run: str, pictures: list[Path]) -> None:  # type: ignore[no-untyped-def]
    with httpx.Client(base_url=app.address, timeout=120, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        id = http.post("/classify", params={"run": run}, content=pictures[0].read_bytes()).json()["id"]
        http.post(f"/classify/{id}/truth", json={"label": "cross"})
        lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith("workbench_classify")]
    text = "\n".join(lines)
    assert 'workbench_classify_pictures_total{outcome="answered",runtime="pytorch"}' in text
    assert 'workbench_classify_drifting{test="inputs"}' in text and "workbench_classify_truths_total{verdict=" in text
    assert "workbench_classify_confidence_bucket" in text and "workbench_classify_seconds_count" in text
    assert not any(word in text for word in (run, id, "cross", "stripes", "disc", "tpu"))


def test_drift_is_looked_at_after_the_answers(app, client: Client, run: str, pictures: list[Path]) -> None:  # type: ignore[no-untyped-def]
    def monitor() -> dict[str, Any]:
        return client.predict(run=run, api_name="/monitor")["drift"]

    deadline = time.monotonic() + 300
    while monitor()["why"].startswith("Features of the training"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    some = [handle_file(p) for p in pictures[:30]]
    for _ in range(2):
        client.predict(run=run, pictures=some, api_name="/classify")
    while (found := monitor())["inputs"]["p"] is None:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    assert found["inputs"]["n"] >= 50 and 0 < found["inputs"]["p"] <= 1 and found["inputs"]["says"]
