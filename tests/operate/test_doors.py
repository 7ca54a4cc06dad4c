"""What an operator sees of each door: counts, and lines with the request's id; and nothing of the visitor."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from prometheus_client.parser import text_string_to_metric_families

from lib import metrics
from lib.onnx_inspect.examples import EXAMPLES
from tests.operate.conftest import Running

SECRET = "zebra"  # in prompts, names of files and addresses
PICTURE = {"prompt": f"a {SECRET}", "steps": 3}


@pytest.fixture(scope="module")
def app(start: Callable[..., Running]) -> Running:
    return start("app.py", JOBS="1")


def samples(app: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(app.metrics())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(app: Running, name: str, **labels: str) -> float:
    return samples(app).get((f"workbench_{name}", tuple(sorted(labels.items()))), 0.0)


def lines(app: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in app.log().splitlines() if line.startswith("{")]


def through_mcp(address: str) -> str:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def call() -> str:
        async with streamable_http_client(f"{address}/gradio_api/mcp/") as (read, write, *_):
            async with ClientSession(read, write) as session:
                await session.initialize()
                return str(await session.call_tool("text_to_image", PICTURE))

    return asyncio.run(call())


def through_the_page(address: str) -> None:
    """As the browser does it: the button's own listener by its number, then the one that watches what it began."""
    config = httpx.get(f"{address}/config").json()
    parts = {part["id"]: part for part in config["components"]}
    named = {label: part["id"] for part in parts.values() for label in [part["props"].get("value")] if label == "Generate"}
    begin = next(
        d for d in config["dependencies"] if d["backend_fn"] and named["Generate"] in [target for target, _ in d["targets"]]
    )
    watch = next(d for d in config["dependencies"] if d.get("trigger_after") == begin["id"])
    given = {parts[i]["props"].get("label"): parts[i]["props"].get("value") for i in begin["inputs"]}
    key, *data = (given | {"Prompt": PICTURE["prompt"]}).values()
    assert key is None and len(data) + 1 == len(begin["inputs"])  # the browser's own key comes first
    about = {"session_hash": "a-page", "trigger_id": None}
    body = {"data": ["0" * 32, *data], "fn_index": begin["id"], **about}
    httpx.post(f"{address}/gradio_api/run/predict", json=body, timeout=60).raise_for_status()
    body = {"data": ["0" * 32, ""], "fn_index": watch["id"], **about}
    httpx.post(f"{address}/gradio_api/queue/join", json=body).raise_for_status()
    with httpx.stream("GET", f"{address}/gradio_api/queue/data?session_hash=a-page", timeout=120) as events:
        for line in events.iter_lines():
            if "process_completed" in line:
                assert json.loads(line.removeprefix("data: "))["success"], line
                return


DOORS: dict[str, Callable[[str], Any]] = {
    "rest": lambda address: httpx.post(f"{address}/text-to-image", json=PICTURE, timeout=120).raise_for_status(),
    "api": lambda address: Client(address, verbose=False).predict(**PICTURE, api_name="/text_to_image"),
    "mcp": through_mcp,
    "page": through_the_page,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_picture_is_counted_by_its_door(app: Running, door: str) -> None:
    labels = {"model": "tiny-scenes", "door": door, "outcome": "done"}
    before = value(app, "requests_total", **labels)
    DOORS[door](app.address)
    assert value(app, "requests_total", **labels) == before + 1
    said = [line for line in lines(app) if line["event"] == "picture" and line["door"] == door]
    assert said[-1]["outcome"] == "done" and len(said[-1]["request"]) == 16


def test_what_is_refused_and_who_leaves(app: Running) -> None:
    refused = {"model": "other", "door": "rest", "outcome": "refused"}
    left = {"model": "tiny-scenes", "door": "rest", "outcome": "cancelled"}
    before = value(app, "requests_total", **refused), value(app, "requests_total", **left)
    assert httpx.post(f"{app.address}/text-to-image", json=PICTURE | {"model": SECRET}).status_code == 422
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{app.address}/text-to-image", json=PICTURE | {"steps": 150, "scheduler": "Heun"}, timeout=0.5)
    deadline = time.monotonic() + 60
    while value(app, "requests_total", **left) == before[1]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert value(app, "requests_total", **refused) == before[0] + 1


def test_an_id_goes_from_the_door_to_the_log_and_back(app: Running) -> None:
    sent = {"X-Request-Id": "load-balancer:17"}
    model = EXAMPLES["linear"]().SerializeToString()
    answer = httpx.post(f"{app.address}/inspect-onnx?name={SECRET}.onnx", content=model, headers=sent, timeout=120)
    assert answer.status_code == 200 and answer.headers["x-request-id"] == "load-balancer:17"
    deadline, found = time.monotonic() + 30, []
    while len(found) < 2 and time.monotonic() < deadline:  # the second line comes after the answer
        found = [line for line in lines(app) if line.get("request") == "load-balancer:17"]
        time.sleep(0.05)
    assert [line["event"] for line in found] == ["job", "http"]
    assert found[0]["kind"] == "onnx_inspect.inspect" and found[0]["outcome"] == "result"
    assert found[1]["route"] == "/inspect-onnx" and found[1]["status"] == 200
    odd = httpx.get(f"{app.address}/healthz", headers={"X-Request-Id": f"{SECRET} {SECRET}"}).headers["x-request-id"]
    assert SECRET not in odd and len(odd) == 16


def test_jobs_are_counted_by_kind_and_end(app: Running) -> None:
    before = value(app, "jobs_total", kind="onnx_inspect.inspect", outcome="invalid")
    answer = httpx.post(f"{app.address}/inspect-onnx?name={SECRET}.onnx", content=SECRET.encode(), timeout=120)
    assert answer.status_code == 422
    assert value(app, "jobs_total", kind="onnx_inspect.inspect", outcome="invalid") == before + 1
    assert value(app, "jobs_running") == 0 and value(app, "ready") == 1


@pytest.mark.slow
def test_conversions_are_counted_by_verdict(app: Running) -> None:
    labels = {"source": "onnx", "target": "onnx-slim", "verdict": "proven"}
    model = EXAMPLES["linear"]().SerializeToString()
    address = f"{app.address}/convert?target=onnx-slim&name={SECRET}.onnx"
    assert httpx.post(address, content=model, timeout=400, headers={"X-Request-Id": "slim"}).status_code == 200
    assert value(app, "conversions_total", **labels) == 1
    jobs = [line["kind"] for line in lines(app) if line["event"] == "job" and line["request"] == "slim"]
    assert jobs[0] == "convert.admit" and len(jobs) > 3  # all of its jobs, though they start in a thread


def test_metrics_are_well_formed_and_complete(app: Running) -> None:
    text = app.metrics()
    families = {family.name for family in text_string_to_metric_families(text)}
    wanted = {f"workbench_{name}" for name in metrics.GAUGES} | {m.name for m in metrics.REGISTRY.collect()}
    assert wanted <= families and {"process_resident_memory_bytes", "process_open_fds"} <= families
    if promtool := shutil.which("promtool"):  # of Debian's package prometheus
        check = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert check.returncode == 0 and not check.stderr, check.stderr


def test_metrics_are_closed(app: Running) -> None:
    assert httpx.get(f"{app.address}/metrics").status_code == 401
    for given in ("Bearer", "Bearer no", "Basic a-token-of-the-tests", "Bearer é"):
        answer = httpx.get(f"{app.address}/metrics", headers={"Authorization": given.encode("latin-1")})
        assert answer.status_code == 401 and "workbench_" not in answer.text


def test_gradio_s_monitoring_is_closed(app: Running) -> None:
    paths = ("/monitoring", "/monitoring/summary", "/gradio_api/monitoring", "/gradio_api/monitoring/summary")
    statuses = [httpx.get(f"{app.address}{path}").status_code for path in paths]
    assert set(statuses) <= {403, 404} and statuses.count(403) >= 2, statuses


def test_no_onnxruntime_id_file(app: Running) -> None:
    assert not list(app.temporary.rglob("*.ses"))


def test_nothing_of_a_visitor_is_told(app: Running, tmp_path: Path) -> None:
    named = tmp_path / f"{SECRET}.bin"
    named.write_bytes(SECRET.encode())
    client = Client(app.address, verbose=False)
    asked = {"/convert": {"file": [handle_file(str(named))], "target": "onnx"}, "/text_to_image": PICTURE | {"steps": 0}}
    for door, given in asked.items():
        with pytest.raises(AppError):
            client.predict(**given, api_name=door)
    httpx.get(f"{app.address}/{SECRET}?{SECRET}={SECRET}")
    httpx.get(f"{app.address}/onnx-files/{SECRET}")
    for text in (app.log(), app.metrics()):
        assert SECRET not in text and "127.0.0.1" not in text
