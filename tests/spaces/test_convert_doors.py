"""The converter through its doors, as a client meets it: gradio_client, curl's REST, MCP; rubbish included."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from jsonschema import Draft202012Validator
from onnx import helper, numpy_helper
from PIL import Image

from lib.convert.formats import APP
from lib.convert.service.catalogue import table
from lib.onnx_inspect.examples import EXAMPLES
from lib.settings import Settings
from tests.spaces.conftest import serve

CONTRACT = {
    "verdict",
    "reason",
    "route",
    "max_abs_error",
    "max_rel_error",
    "cosine",
    "tolerance",
    "seeds",
    "source",
    "target",
    "messages",
    "outputs",
    "options",
    "versions",
}
ENDPOINTS = ["conversions", "convert", "describe_source"]


@pytest.fixture(scope="module")
def converter(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The converter's tab alone: its address."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("converter")
        own = replace(settings, data_folder=home / "data", convert_seconds=120)
        for workbench in serve(own, patch, home / "gradio", ("convert",)):
            yield workbench.address


@pytest.fixture(scope="module")
def client(converter: str) -> Client:
    return Client(converter, verbose=False)


def save(folder: Path, name: str = "digits") -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(EXAMPLES[name]().SerializeToString())
    return path


def constant(folder: Path) -> Path:
    """Its output does not depend on its input: no conversion of it can be proven."""
    value = numpy_helper.from_array(np.ones((1, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "zero"], ["none"]), helper.make_node("Add", ["none", "w"], ["y"])],
        "constant",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
        [value, numpy_helper.from_array(np.zeros((1, 4), np.float32), "zero")],
    )
    path = folder / "constant.onnx"
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def test_the_contract(client: Client, tmp_path: Path) -> None:
    path, report = client.predict(file=handle_file(save(tmp_path)), target="onnx-fp16", api_name="/convert")
    assert set(report) >= CONTRACT and report["verdict"] == "proven"
    assert Path(path).name == "digits-fp16.onnx"
    types = {t.data_type for t in onnx.load(path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types and onnx.TensorProto.FLOAT not in types
    assert [(h["source"], h["target"], h["verdict"]) for h in report["route"]] == [("onnx", "onnx-fp16", "proven")]
    assert 0 < report["max_abs_error"] < 0.1 and len(report["seeds"]) >= 3
    assert report["target"]["bytes"] < report["source"]["bytes"]


def test_options_and_a_list_of_files(client: Client, tmp_path: Path) -> None:
    """External data go along; samples are one of the files, by their name."""
    onnx.save(EXAMPLES["digits"](), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    images = np.random.default_rng(0).random((4, 1, 28, 28), dtype=np.float32)
    np.savez(tmp_path / "some.npz", image=images, labels=np.arange(4))
    files = [handle_file(tmp_path / name) for name in ("m.data", "some.npz", "m.onnx")]
    options = {"samples": "some.npz", "anyway": True, "seeds": [4, 5, 6], "min_agreement": 0.9}
    path, report = client.predict(file=files, target="onnx-int8-static", options=options, api_name="/convert")
    assert report["samples"]["name"] == "some.npz" and report["samples"]["count"] == 4 and report["samples"]["labels"]
    assert report["min_agreement"] == 0.9
    assert report["seeds"] == [4, 5, 6] and "QuantizeLinear" in {n.op_type for n in onnx.load(path).graph.node}
    assert (".unproven" in Path(path).name) is (report["verdict"] != "proven")


def test_samples_that_are_not_named_are_not_ignored(client: Client, tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", image=np.ones((4, 1, 28, 28), np.float32))
    files = [handle_file(save(tmp_path)), handle_file(tmp_path / "some.npz")]
    with pytest.raises(AppError, match=r'options={"samples": "some.npz"}'):
        client.predict(file=files, target="onnx-fp16", api_name="/convert")
    (tmp_path / "other.onnx").write_bytes(b"")
    with pytest.raises(AppError, match=r"'other.onnx' is not part of this model"):
        client.predict(file=[files[0], handle_file(tmp_path / "other.onnx")], target="onnx-fp16", api_name="/convert")


@pytest.mark.parametrize("value", ["/etc/passwd", "../some.npz", "none.npz", 3])
def test_a_file_option_is_never_a_path(client: Client, tmp_path: Path, value: object) -> None:
    given = {"file": [handle_file(save(tmp_path))], "target": "onnx-int8-static", "options": {"samples": value}}
    with pytest.raises(AppError, match="the name of one of the uploaded files"):
        client.predict(**given, api_name="/convert")


def test_what_is_not_proven_is_withheld(client: Client, converter: str, tmp_path: Path) -> None:
    model = constant(tmp_path)
    path, report = client.predict(file=handle_file(model), target="onnx-fp16", api_name="/convert")
    assert path is None and report["verdict"] == "unproven"
    path, report = client.predict(file=handle_file(model), target="onnx-fp16", options={"anyway": True}, api_name="/convert")
    assert Path(path).name == "constant-fp16.unproven.onnx" and report["verdict"] == "unproven"
    data = model.read_bytes()
    answer = httpx.post(f"{converter}/convert?target=onnx-fp16", content=data, timeout=120)
    assert answer.status_code == 422 and answer.headers["x-verdict"] == "unproven"
    assert answer.json()["report"]["verdict"] == "unproven" and "withheld" in answer.json()["error"]
    answer = httpx.post(f"{converter}/convert?target=onnx-fp16&anyway=1&name=constant.onnx", content=data, timeout=120)
    assert answer.status_code == 200 and answer.headers["x-verdict"] == "unproven"
    assert "constant.unproven" in answer.headers["content-disposition"]


def test_describe(client: Client, tmp_path: Path) -> None:
    found = client.predict(file=handle_file(save(tmp_path)), api_name="/describe_source")
    assert found["format"] == "onnx" and found["inputs"][0]["shape"][1:] == [1, 28, 28]
    ways = {t["target"]: t for t in found["targets"]}
    assert ways["onnx-fp16"]["route"] == ["onnx", "onnx-fp16"] and "keep_io_types" in str(ways["onnx-fp16"]["options"])


def test_conversions(client: Client, converter: str) -> None:
    rows = client.predict(api_name="/conversions")
    assert rows == httpx.get(f"{converter}/conversions").json()
    assert [{k: v for k, v in row.items() if k != "install_mb"} for row in rows] == json.loads(json.dumps(table()))
    for row in rows:
        assert row["runs_here"] == (not row["why_not"])
        assert (row["install_mb"] > 0) == (row["environment"] != APP)  # nothing was installed for these tests


def test_rest(converter: str, tmp_path: Path) -> None:
    address = f"{converter}/convert?target=onnx-fp16&name=digits.onnx&keep_io_types=0&seeds=7,8,9"
    answer = httpx.post(address, content=save(tmp_path).read_bytes(), timeout=120)
    assert answer.status_code == 200 and answer.headers["x-verdict"] == "proven"
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {"report.json", "README.md"} < set(archive.namelist())
        report = json.loads(archive.read("report.json"))
        model = onnx.load_from_string(archive.read("digits-fp16.onnx"))
    assert report["seeds"] == [7, 8, 9] and report["verdict"] == "proven"
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/convert", b"x", 422, "a format from /conversions"),
        ("/convert?target=onnx-fp16", b"", 422, "an uploaded file, or a name"),
        ("/convert?target=onnx-fp16", b"\x00rubbish" * 9, 422, ""),
        ("/convert?target=onnx-fp16", b"PK\x03\x04" + bytes(90), 422, ""),
        ("/convert?target=onnx-fp16", b"\x80\x04\x95" + bytes(90), 422, ""),
        ("/convert?target=nothing", "digits", 422, "target was 'nothing'"),
        ("/convert?target=onnx-fp16&color=red", "digits", 422, "name was 'color'"),
        ("/convert?target=onnx-fp16&keep_io_types=maybe", "digits", 422, "1 or 0"),
        ("/convert?target=onnx-fp16&anyway=perhaps", "digits", 422, "1 or 0"),
        ("/convert?target=onnx-fp16&seeds=1,1,1", "digits", 422, "different whole numbers"),
        ("/convert?target=onnx-fp16&seeds=a", "digits", 422, "whole numbers separated by commas"),
        ("/convert?target=onnx-int8-static&samples=/etc/passwd", "digits", 422, "-F samples=@file"),
        ("/convert?target=onnx-fp16&min_agreement=most", "digits", 422, "a number from 0.5 to 1"),
        ("/convert?target=onnx-fp16&preprocessing=nearly", "digits", 422, "pairs such as size=224"),
        ("/convert?target=onnx-fp16&sizes=batch", "digits", 422, "batch=4, samples=512"),
        ("/convert?target=onnx&source=../../etc/passwd", b"", 422, "source was"),
        ("/convert?target=onnx&source=torchvision:../../x", b"", 422, ""),
    ],
)
def test_rest_says_what_is_wrong(
    converter: str, tmp_path: Path, path: str, body: bytes | str, status: int, message: str
) -> None:
    content = save(tmp_path).read_bytes() if isinstance(body, str) else body
    answer = httpx.post(converter + path, content=content, timeout=120)
    assert answer.status_code == status, answer.text
    words = answer.json()["error"]
    assert message in words and "Traceback" not in words and "/tmp" not in words


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": ""}, "a format from /conversions"),
        ({"target": "onnx"}, "an uploaded file, or a name"),
        ({"target": "onnx", "source": "nonsense"}, "source was 'nonsense'; allowed: [a-z:…, ]*jax:…\\.$"),
        ({"target": "onnx", "source": "resnet81"}, "did you mean resnet18"),
        ({"target": "onnx", "source": "torchvision:no_such_model"}, "no_such_model"),
        ({"target": "onnx", "options": [1]}, "an object such as"),
        ({"target": "onnx", "options": "{"}, "an object such as"),
    ],
)
def test_bad_values(client: Client, given: dict, message: str) -> None:
    with pytest.raises(AppError, match=message) as caught:
        client.predict(**given, api_name="/convert")
    assert "/tmp" not in str(caught.value) and "Traceback" not in str(caught.value)


def idle(converter: str, running: int = 0, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while sum(s["running"] for s in httpx.get(f"{converter}/healthz").json()["conversions"].values()) != running:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def pictures(path: Path, count: int = 8) -> Path:
    """A zip of drawn pictures; the two folders are classes of the model."""
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(count):
            values = np.random.default_rng(k).integers(0, 255, (40, 30, 3), dtype=np.uint8)
            data = io.BytesIO()
            Image.fromarray(values).save(data, "PNG")
            archive.writestr(f"{k % 2}/{k}.png", data.getvalue())
    return path


def test_a_form_with_external_data_and_pictures(converter: str, tmp_path: Path) -> None:
    """As curl sends it: -F model=@m.onnx -F external_data=@m.data -F samples=@photos.zip."""
    onnx.save(EXAMPLES["digits"](), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    photos = pictures(tmp_path / "photos.zip")
    command = ["curl", "-s", "-w", "%{http_code}", "-o", str(tmp_path / "out")]
    for field in ("model=@m.onnx", "external_data=@m.data", f"samples=@{photos}", "preprocessing=normalization=0..255"):
        command += ["-F", field]
    address = f"{converter}/convert?target=onnx-fp16&sizes=batch%3D2&anyway=1&min_agreement=0.8"
    done = subprocess.run([*command, address], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "200", (tmp_path / "out").read_bytes()[:2000]
    with zipfile.ZipFile(tmp_path / "out") as archive:
        report = json.loads(archive.read("report.json"))
    found = report["samples"]
    assert (found["name"], found["kind"], found["count"], found["labels"]) == ("photos.zip", "pictures", 8, False)
    assert any("The labels were left out" in message for message in report["messages"])  # other classes than the model's
    assert found["preprocessing"]["normalization"] == "0..255" and found["preprocessing"]["channels"] == "L"
    assert report["sizes"] == {"batch": 2} and report["min_agreement"] == 0.8
    assert report["options"]["samples"] == "photos.zip" and report["quality"]["on"] == "samples"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("photos", "x.npz")], "field was 'photos'; allowed: model, external_data, samples"),
        ([("samples", "a.npz"), ("samples", "b.npz")], "The form has 2 files as samples. Send one."),
        ([("model", "m.onnx")], "some with the same name"),
        ([("samples", "..")], "is not a readable file of samples"),
    ],
)
def test_a_form_says_what_is_wrong(converter: str, tmp_path: Path, parts: list, message: str) -> None:
    files = [("model", ("m.onnx", save(tmp_path).read_bytes()))] + [(field, (name, b"\0\1\2")) for field, name in parts]
    answer = httpx.post(f"{converter}/convert?target=onnx-fp16", files=files, timeout=120)
    assert answer.status_code == 422 and message in answer.json()["error"], answer.text
    assert "/tmp" not in answer.text


def test_missing_external_data_are_one_sentence(converter: str, tmp_path: Path) -> None:
    onnx.save(EXAMPLES["digits"](), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    data = (tmp_path / "m.onnx").read_bytes()
    answer = httpx.post(f"{converter}/convert?target=onnx-fp16&name=m.onnx", content=data, timeout=120)
    assert answer.status_code == 422
    assert answer.json()["error"] == "The model is incomplete: also upload 'm.data' (6 weights live there)."


def test_whoever_hangs_up_stops_the_job(converter: str, client: Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{converter}/convert?source=torchvision:mobilenet_v3_small&target=onnx", timeout=httpx.Timeout(30, read=2)
        )
    assert idle(converter)
    job = client.submit(source="torchvision:mobilenet_v3_small", target="onnx", api_name="/convert")
    assert idle(converter, running=1)
    job.cancel()
    assert idle(converter)


def test_the_tools_are_published(converter: str) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def tools() -> dict[str, Any]:
        async with streamable_http_client(f"{converter}/gradio_api/mcp/") as (read, write, *_):
            async with ClientSession(read, write) as session:
                await session.initialize()
                return {t.name: t.inputSchema for t in (await session.list_tools()).tools}

    found = asyncio.run(tools())
    assert sorted(found) == ENDPOINTS
    given = found["convert"]["properties"]
    assert "$ref" not in json.dumps(found)  # to what stands elsewhere
    assert given["file"]["items"]["type"] == "string" and found["convert"]["required"] == ["target"]
    options = {name: value for name, value in given["options"].items() if name != "default"}
    Draft202012Validator.check_schema(options)
    for good, right in (({"samples": "a.zip", "opset": "18"}, True), ({"seeds": "many"}, False), (["samples"], False)):
        assert Draft202012Validator(options).is_valid(good) == right
    assert options["description"].endswith(".") and "samples" in options["description"]
    assert {"onnx", "onnx-int8-static", "tflite"} < set(given["target"]["enum"])
    info = httpx.get(f"{converter}/gradio_api/info").json()["named_endpoints"]
    assert sorted(info) == [f"/{name}" for name in ENDPOINTS]
    names_given = [p["parameter_name"] for p in info["/convert"]["parameters"]]
    assert names_given == ["file", "source", "target", "options"]
