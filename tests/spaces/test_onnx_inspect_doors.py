"""The inspector through its doors, as a client meets it: gradio_client, curl's REST, MCP."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from lib.onnx_inspect.catalogue import LINEAR
from lib.onnx_inspect.examples import EXAMPLES

CONTRACT = {
    "valid",
    "problems",
    "ir_version",
    "opset_imports",
    "producer",
    "doc_string",
    "model_version",
    "metadata",
    "inputs",
    "outputs",
    "parameters",
    "operators",
    "macs",
    "nodes",
}
ENDPOINTS = ["build_onnx", "compare_onnx", "edit_metadata", "inspect_onnx", "run_onnx", "show_onnx", "weights_onnx"]


@pytest.fixture(scope="module")
def client(inspector: str) -> Client:
    return Client(inspector, verbose=False)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    path.write_bytes(EXAMPLES["digits"]().SerializeToString())
    return path


def test_the_contract(client: Client, digits: Path) -> None:
    report = client.predict(file=handle_file(digits), api_name="/inspect_onnx")
    assert set(report) >= CONTRACT and report["valid"] and report["problems"] == []
    assert report["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 28, 28], "doc": ""}]
    # conv1: 28·28·16·9, conv2: 14·14·32·16·9, fc: 1568·10
    assert report["macs"] == 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 + 1568 * 10
    assert report["operators"] == {"Conv": 2, "Relu": 2, "MaxPool": 2, "Flatten": 1, "Gemm": 1}
    double = client.predict(file=handle_file(digits), symbols="batch=2", api_name="/inspect_onnx")
    assert double["macs"] == 2 * report["macs"]


def test_run(client: Client, digits: Path, tmp_path: Path) -> None:
    found = client.predict(handle_file(digits), None, 3, 5, api_name="/run_onnx")
    assert found["agree"] and found["onnxruntime"]["runs"] == 5 and found["seed"] == 3
    image = np.zeros((2, 1, 28, 28), np.float32)
    np.savez(tmp_path / "in.npz", image=image)
    given = client.predict(file=handle_file(digits), inputs=handle_file(tmp_path / "in.npz"), api_name="/run_onnx")
    assert given["agree"] and given["outputs"][0]["shape"] == [2, 10] and given["outputs"][0]["maximum"] == 0.0


def test_build_show_compare_weights(client: Client, tmp_path: Path) -> None:
    path, report = client.predict(text=LINEAR, api_name="/build_onnx")
    assert report["valid"] and report["doc_string"].startswith("A linear layer") and onnx.load(path).graph.name == "linear"
    text = client.predict(file=handle_file(path), api_name="/show_onnx")["text"]
    again, _ = client.predict(text=text, api_name="/build_onnx")
    same = client.predict(old=handle_file(path), new=handle_file(again), api_name="/compare_onnx")
    assert same["same"], same
    weight = client.predict(file=handle_file(path), tensor="A", api_name="/weights_onnx")
    assert weight["count"] == 12 and weight["zeros"] == 6 and weight["maximum"] == 1.0


def test_external_data(client: Client, tmp_path: Path) -> None:
    model = EXAMPLES["digits"]()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    alone = client.predict(file=handle_file(tmp_path / "m.onnx"), api_name="/inspect_onnx")
    assert not alone["valid"] and "'m.data', which was not uploaded" in alone["problems"][0]["message"]
    both = {"file": handle_file(tmp_path / "m.onnx"), "external_data": [handle_file(tmp_path / "m.data")]}
    assert client.predict(**both, api_name="/inspect_onnx")["valid"]
    assert client.predict(**both, api_name="/run_onnx")["agree"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"symbols": "batch"}, "name=number"),
        ({"symbols": "width=3"}, "dynamic dimensions of this model's inputs: batch"),
        ({"symbols": "batch=0"}, "a whole number from 1"),
        ({"sizes": "batch"}, "pairs of a dimension's name and a whole number"),
        ({"sizes": "width=3"}, "dynamic dimensions of this model's inputs: batch"),
    ],
)
def test_bad_values(client: Client, digits: Path, arguments: dict, message: str) -> None:
    with pytest.raises(AppError, match=message):
        client.predict(file=handle_file(digits), **arguments, api_name="/inspect_onnx")


def test_bad_files_are_answered(client: Client, digits: Path, tmp_path: Path) -> None:
    for name, content, message in [
        ("zip.onnx", b"PK\x03\x04" + b"0" * 60, "a zip archive"),
        ("pickle.onnx", b"\x80\x04\x95" + b"0" * 60, "pickles are never opened"),
        ("short.onnx", digits.read_bytes()[:-1000], "Truncated"),
        ("empty.onnx", b"", "empty"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AppError, match=message) as caught:
            client.predict(file=handle_file(tmp_path / name), api_name="/inspect_onnx")
        assert "/tmp" not in str(caught.value) and "Traceback" not in str(caught.value)
    with pytest.raises(AppError, match="1 to 1000"):
        client.predict(file=handle_file(digits), runs=0, api_name="/run_onnx")
    assert client.predict(file=handle_file(digits), api_name="/inspect_onnx")["valid"]


def test_sizes_and_samples(client: Client, inspector: str, digits: Path, tmp_path: Path) -> None:
    report = client.predict(file=handle_file(digits), sizes="batch=2", api_name="/inspect_onnx")
    assert (
        report["sizes"] == {"batch": 2} and report["sizes_note"] == "batch = 2, as given." and report["macs"] == 2 * 1031744
    )
    Image.new("L", (28, 28), 255).save(tmp_path / "white.png")
    given = {"file": handle_file(digits), "samples": handle_file(tmp_path / "white.png")}
    found = client.predict(**given, preprocessing="crop=center", api_name="/run_onnx")
    assert found["agree"] and found["samples"]["preprocessing"]["crop"] == "center"
    files = {"model": digits.open("rb"), "samples": (tmp_path / "white.png").open("rb")}
    rest = httpx.post(f"{inspector}/run-onnx?runs=2", files=files, data={"preprocessing": "crop=center"}, timeout=60).json()
    assert rest["samples"] | {"name": ""} == found["samples"] | {"name": ""} and rest["samples"]["name"] == "white.png"
    assert rest["outputs"] == found["outputs"] and rest["onnxruntime"]["runs"] == 2
    with pytest.raises(AppError, match="Remove one of them"):
        client.predict(**given, values='{"image": [0]}', api_name="/run_onnx")


def test_a_form_of_several_files(inspector: str, tmp_path: Path) -> None:
    onnx.save(EXAMPLES["digits"](), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    files = {"model": (tmp_path / "m.onnx").open("rb"), "external_data": (tmp_path / "m.data").open("rb")}
    report = httpx.post(f"{inspector}/inspect-onnx?sizes=batch=3", files=files, timeout=60).json()
    assert report["valid"] and report["file"]["name"] == "m.onnx" and report["macs"] == 3 * 1031744
    for wrong, message in (
        ({"weights": b"x"}, "allowed: model, external_data, samples"),
        ({"samples": b"x"}, "exactly one model"),
    ):
        answer = httpx.post(f"{inspector}/run-onnx", files=wrong, timeout=60)
        assert answer.status_code == 422 and message in answer.json()["error"]
    headers = {"content-type": "multipart/form-data"}
    answer = httpx.post(f"{inspector}/run-onnx", content=b"not a valid form", headers=headers, timeout=60)
    assert answer.status_code == 422 and "not a valid form" in answer.json()["error"]


def test_rest(inspector: str, digits: Path) -> None:
    data = digits.read_bytes()
    report = httpx.post(f"{inspector}/inspect-onnx?symbols=batch=2&name=digits.onnx", content=data, timeout=60)
    assert report.status_code == 200 and report.json()["macs"] == 2 * 1031744
    assert report.json()["file"]["name"] == "digits.onnx" and set(report.json()) >= CONTRACT
    found = httpx.post(f"{inspector}/run-onnx?seed=1&runs=2", content=data, timeout=60).json()
    assert found["agree"] and found["onnxruntime"]["runs"] == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/inspect-onnx", b"", 422, "body is empty"),
        ("/inspect-onnx", b"PK\x03\x04" + bytes(90), 422, "a zip archive"),
        ("/inspect-onnx?symbols=a", b"x", 422, "name=number"),
        ("/inspect-onnx?color=red", b"x", 422, "allowed: name, sizes, symbols"),
        ("/run-onnx?runs=many", b"x", 422, "a whole number"),
    ],
)
def test_rest_says_what_is_wrong(inspector: str, path: str, body: bytes, status: int, message: str) -> None:
    answer = httpx.post(inspector + path, content=body, timeout=60)
    assert answer.status_code == status and message in answer.json()["error"]


def test_gradios_own_rest(inspector: str, digits: Path) -> None:
    """Upload, call, read the answer from the stream of events."""
    api = f"{inspector}/gradio_api"
    with digits.open("rb") as file:
        path = httpx.post(f"{api}/upload", files={"files": file}).json()[0]
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = httpx.post(f"{api}/call/inspect_onnx", json={"data": [given, None, "", ""]}).json()["event_id"]
    text = httpx.get(f"{api}/call/inspect_onnx/{event}", timeout=60).text
    assert json.loads(text.split("event: complete\ndata: ")[1].splitlines()[0])[0]["valid"] is True


SPIN = """<ir_version: 10, opset_import: ["" : 20]>
spin (float[n] x) => (float[n] y) <int64 most = {9000000000000000000}, bool yes = {1}>
{
  y = Loop (most, yes, x) <body = step (int64 i, bool go, float[n] v) => (bool again, float[n] w) {
    w = Add(v, v)
    again = Identity(go)
  }>
}"""


def idle(inspector: str, running: int = 0, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while httpx.get(f"{inspector}/healthz").json()["jobs"]["running"] != running:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_whoever_hangs_up_stops_the_job(inspector: str, client: Client) -> None:
    model, _ = client.predict(text=SPIN, api_name="/build_onnx")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{inspector}/run-onnx", content=Path(model).read_bytes(), timeout=httpx.Timeout(30, read=2))
    assert idle(inspector)
    job = client.submit(file=handle_file(model), api_name="/run_onnx")
    assert idle(inspector, running=1)
    job.cancel()
    assert idle(inspector)


def test_the_tools_are_published(inspector: str) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def names() -> list[str]:
        async with streamable_http_client(f"{inspector}/gradio_api/mcp/") as (read, write, *_):
            async with ClientSession(read, write) as session:
                await session.initialize()
                return [t.name for t in (await session.list_tools()).tools]

    assert sorted(asyncio.run(names())) == ENDPOINTS
    info = httpx.get(f"{inspector}/gradio_api/info").json()["named_endpoints"]
    assert sorted(info) == [f"/{name}" for name in ENDPOINTS]
    required = [p["parameter_name"] for p in info["/run_onnx"]["parameters"] if not p["parameter_has_default"]]
    assert required == ["file"]


def test_health_and_graph_routes(inspector: str) -> None:
    assert httpx.get(f"{inspector}/healthz").json()["jobs"] == {"running": 0, "waiting": 0}
    assert httpx.get(f"{inspector}/netron/").status_code == 200
    assert httpx.get(f"{inspector}/onnx-files/{'A' * 32}.onnx").status_code == 404
