"""The same picture through the Gradio API, REST and MCP of a running app."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from lib.settings import Settings
from lib.text_to_image import png
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import STRENGTH, StartPicture
from tests.spaces.conftest import serve
from tests.text_to_image.test_batch import alone, furthest
from tests.text_to_image.test_engine import wait_for
from tests.text_to_image.test_start_picture import box, scene

ASK = {"prompt": "a red car on a track", "steps": 6, "seed": 11}
BAD = [(v, m) for v, m in json.loads((Path(__file__).parent.parent / "cases" / "bad_requests.json").read_text())]


@pytest.fixture(scope="module")
def client(app) -> Client:  # type: ignore[no-untyped-def]
    return Client(app.address, verbose=False)


@pytest.fixture(scope="module")
def expected(embedded: Model) -> Image.Image:
    return alone(embedded, Request(**ASK))


def test_gradio_client(client: Client, expected: Image.Image) -> None:
    path, info = client.predict(**ASK, api_name="/text_to_image")
    assert path.endswith(".png") and Image.open(path).format == "PNG"
    assert furthest(Image.open(path), expected) <= 1
    assert info["seed"] == 11 and info["model"] == "tiny-scenes" and info["width"] == 128 and info["seconds"] > 0
    assert png.read_request(Path(path).read_bytes()) == Request(**ASK, width=128, height=128, model="tiny-scenes")


def test_gradio_client_sees_progress(client: Client) -> None:
    job = client.submit(prompt="a blue boat", steps=12, api_name="/text_to_image")
    path, _ = job.result()
    assert path and [o[1]["step"] for o in job.outputs() if "step" in o[1]]


def test_gradio_client_gets_several(client: Client, expected: Image.Image) -> None:
    job = client.submit(**ASK, count=3, api_name="/text_to_image")
    paths, infos = job.result()
    assert [info["seed"] for info in infos] == [11, 12, 13]
    assert [Path(path).name for path in paths] == ["11.png", "12.png", "13.png"]
    assert furthest(Image.open(paths[0]), expected) <= 1
    for path, info in zip(paths, infos, strict=True):
        assert png.read_request(Path(path).read_bytes()).seed == info["seed"]
    steps = [told for _, told in job.outputs() if "step" in told]
    assert steps and all(told["count"] == 3 and 1 <= told["picture"] <= 3 for told in steps)


def test_the_contract_is_published(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/text_to_image"]
    parameters = {p["parameter_name"]: p for p in endpoints["/text_to_image"]["parameters"]}
    assert list(parameters) == [
        "prompt",
        "negative_prompt",
        "steps",
        "guidance_scale",
        "seed",
        "width",
        "height",
        "scheduler",
        "model",
        "count",
        "loras",
        "image",
        "mask",
        "strength",
    ]
    assert parameters["strength"]["parameter_default"] == STRENGTH
    assert all(parameters[name]["parameter_has_default"] for name in parameters if name != "prompt")
    defaults = Request(prompt="-")
    for name in ("negative_prompt", "steps", "guidance_scale", "seed", "scheduler", "count"):
        assert parameters[name]["parameter_default"] == getattr(defaults, name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        b
        for b in BAD
        if set(b[0]) <= {"prompt", "steps", "scheduler", "width"}
        and all(isinstance(v, (str, int)) for v in b[0].values())
        and b[0]
        and not isinstance(b[0]["prompt"], int)
        and b[0].get("steps") is not True
        and not isinstance(b[0].get("steps"), str)
    ],
)
def test_gradio_client_gets_the_message(client: Client, values: dict, message: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(**values, api_name="/text_to_image")
    assert message in str(caught.value)


def test_post(address: str, expected: Image.Image) -> None:
    answer = httpx.post(f"{address}/text-to-image", json=ASK, timeout=60)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert answer.headers["x-seed"] == "11"
    assert furthest(Image.open(io.BytesIO(answer.content)), expected) <= 1
    assert Image.open(io.BytesIO(answer.content)).info["parameters"].startswith("a red car on a track\nSteps: 6,")


def test_several_come_in_a_zip(address: str, expected: Image.Image) -> None:
    answer = httpx.post(f"{address}/text-to-image", json=ASK | {"count": 3}, timeout=60)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    assert answer.headers["x-seed"] == "11"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["11.png", "12.png", "13.png"]
        pictures = [archive.read(name) for name in archive.namelist()]
    assert furthest(Image.open(io.BytesIO(pictures[0])), expected) <= 1
    assert [png.read_request(picture).seed for picture in pictures] == [11, 12, 13]
    one = httpx.get(f"{address}/text-to-image", params=ASK | {"count": 1}, timeout=60)
    assert one.headers["content-type"] == "image/png"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("start")
    scene(160, 160).save(home / "image.jpg", quality=95)
    box(80, 80, 40).save(home / "mask.png")
    (home / "text.txt").write_text("no picture")
    return {path.stem: path for path in home.iterdir()}


def begun(files: dict[str, Path], masked: bool) -> StartPicture:
    mask = Image.open(files["mask"]) if masked else None
    start = StartPicture.from_images(Image.open(files["image"]), mask, strength=0.6)
    return replace(start, digest=hashlib.sha256(files["image"].read_bytes()).hexdigest()[:10])


@pytest.mark.parametrize("masked", [False, True])
def test_gradio_client_begins_with_a_picture(client: Client, files: dict[str, Path], embedded: Model, masked: bool) -> None:
    given = {"image": handle_file(files["image"])} | ({"mask": handle_file(files["mask"])} if masked else {})
    job = client.submit(**ASK, **given, strength=0.6, api_name="/text_to_image")
    path, info = job.result()
    start = begun(files, masked)
    assert furthest(Image.open(path), alone(embedded, Request(**ASK, start=start))) <= 1
    assert info["start_picture"] == start.digest and info["strength"] == 0.6 and ("mask" in info) is masked
    assert {told["steps"] for _, told in job.outputs() if "step" in told} <= {3}


@pytest.mark.parametrize("masked", [False, True])
def test_a_form_begins_with_a_picture(address: str, files: dict[str, Path], embedded: Model, masked: bool) -> None:
    sent = {name: files[name].read_bytes() for name in ("image", "mask")[: 1 + masked]}
    fields = {name: str(value) for name, value in ASK.items()} | {"strength": "0.6", "count": "2"}
    answer = httpx.post(f"{address}/text-to-image", data=fields, files=sent, timeout=60)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    assert list(pictures) == ["11.png", "12.png"]
    for name, data in pictures.items():
        request = Request(**ASK | {"seed": int(name[:2])}, start=begun(files, masked))
        assert furthest(Image.open(io.BytesIO(data)), alone(embedded, request)) <= 1


@pytest.mark.parametrize(
    ("fields", "names", "words"),
    [
        ({}, {"image": "text"}, "The image cannot be used: not a readable picture"),
        ({}, {"image": "image", "mask": "text"}, "The mask cannot be used"),
        ({}, {"mask": "mask"}, "mask was 'a picture'; allowed: a mask only together with an image"),
        ({"strength": "0.3"}, {}, "strength was 0.3; allowed: a strength only together with an image"),
        ({}, {"picture": "image"}, "file was 'picture'; allowed: image, mask"),
        ({"strength": "0"}, {"image": "image"}, "strength was '0'; allowed: a number above 0 and up to 1"),
        ({"strength": "much"}, {}, "strength was 'much'"),
        ({"strength": "0.1"}, {"image": "image"}, "strength was 0.1; allowed: at least 0.167 for 6 steps"),
        ({"image": "aGVsbG8="}, {}, "image is a file: send it in a form, as curl -F image=@picture.png does"),
        ({"steps": "many"}, {"image": "image"}, "steps was 'many'"),
    ],
)
def test_what_is_wrong_with_a_form(
    address: str, files: dict[str, Path], fields: dict[str, str], names: dict[str, str], words: str
) -> None:
    parts: dict[str, object] = {n: (None, str(value)) for n, value in (ASK | fields).items()}  # fields that are no files
    parts |= {name: files[path].read_bytes() for name, path in names.items()}
    answer = httpx.post(f"{address}/text-to-image", files=parts, timeout=60)
    assert answer.status_code == 422 and words in answer.json()["error"], answer.text
    assert "/tmp" not in answer.text and "Traceback" not in answer.text


def test_gradio_client_hears_what_is_wrong_with_a_picture(client: Client, files: dict[str, Path]) -> None:
    for given, words in (
        ({"image": handle_file(files["text"])}, "The image cannot be used"),
        ({"mask": handle_file(files["mask"])}, "allowed: a mask only together with an image"),
        ({"strength": 0.3}, "strength was 0.3; allowed: a strength only together with an image"),
        ({"image": handle_file(files["image"]), "strength": 2}, "strength was 2"),
    ):
        with pytest.raises(AppError) as caught:
            client.predict(**ASK, **given, api_name="/text_to_image")
        assert words in str(caught.value)


def test_get_with_a_query_or_a_body(address: str) -> None:
    by_query = httpx.get(f"{address}/text-to-image", params=ASK, timeout=60)
    by_body = httpx.request("GET", f"{address}/text-to-image", json=ASK, timeout=60)
    assert by_query.status_code == by_body.status_code == 200
    first, second = (Image.open(io.BytesIO(a.content)) for a in (by_query, by_body))
    assert furthest(first, second) <= 1


@pytest.mark.parametrize(("values", "message"), BAD)
def test_a_bad_value_is_a_422(address: str, values: dict, message: str) -> None:
    answer = httpx.post(f"{address}/text-to-image", json=values)
    assert answer.status_code == 422 and message in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff\xfe", b"[" * 50_000, b'{"prompt": NaN}', b"null", b"x" * 70_000])
def test_a_body_that_is_no_json_object_is_a_422(address: str, body: bytes) -> None:
    answer = httpx.post(f"{address}/text-to-image", content=body)
    assert answer.status_code == 422 and "error" in answer.json() and len(answer.text) < 400


def test_a_model_that_is_not_listed_is_a_422(address: str) -> None:
    answer = httpx.post(f"{address}/text-to-image", json={"prompt": "a", "model": "/etc/passwd"})
    assert answer.status_code == 422 and "allowed: tiny-scenes, sd" in answer.json()["error"]


def test_healthz(address: str) -> None:
    health = httpx.get(f"{address}/healthz").json()
    assert health["status"] == "ready" and health["model"] == "tiny-scenes" and health["device"] == "cpu"
    assert health["dtype"] == "float32" and health["queue_length"] == 0 and health["rows_in_batch"] == 0


def test_a_client_that_hangs_up_frees_its_rows(address: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/text-to-image", json={"prompt": "a", "steps": 150}, timeout=0.7)
    deadline = time.monotonic() + 5
    while httpx.get(f"{address}/healthz").json()["rows_in_batch"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_client_that_hangs_up_frees_the_rows_of_all(address: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/text-to-image", json={"prompt": "a", "steps": 150, "count": 8}, timeout=0.7)
    wait_for(lambda: not any(httpx.get(f"{address}/healthz").json()[n] for n in ("rows_in_batch", "queue_length")), 10)


def test_cancelling_a_job_frees_its_rows(client: Client, address: str) -> None:
    job = client.submit(prompt="a", steps=150, api_name="/text_to_image")
    while not job.outputs():
        time.sleep(0.02)
    job.cancel()
    deadline = time.monotonic() + 5
    while httpx.get(f"{address}/healthz").json()["rows_in_batch"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_fifty_clients_at_once_each_get_their_own(address: str, sd: Model) -> None:
    def one(k: int) -> bytes:
        values = {"prompt": f"a {'red' if k % 2 else 'blue'} car", "steps": 3 + k % 5, "seed": k, "model": "sd"}
        answer = httpx.post(f"{address}/text-to-image", json=values, timeout=120)
        assert answer.status_code == 200 and answer.headers["x-seed"] == str(k), answer.text[:200]
        return answer.content

    with ThreadPoolExecutor(50) as pool:
        pictures = list(pool.map(one, range(50)))
    for data in pictures[::5]:
        assert furthest(Image.open(io.BytesIO(data)), alone(sd, png.read_request(data))) <= 1


def test_a_full_queue_is_a_429(settings: Settings, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        own = replace(settings, default_model="sd", max_rows=2, queue_size=1, data_folder=tmp_path / "data")
        running = serve(own, patch, tmp_path / "gradio")
        app = next(running)
        answers: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: answers.append(
                    httpx.post(f"{app.address}/text-to-image", json={"prompt": "a", "steps": 150}, timeout=120).status_code
                )
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answers) == {200, 429} and answers[0] == 429
        next(running, None)


def test_before_a_model_is_loaded_it_is_a_503(settings: Settings, tmp_path: Path) -> None:
    from tests.spaces.conftest import ROOT
    from web.shell import Workbench

    (tmp_path / "empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
        own = replace(settings, models=(f"none={tmp_path / 'empty'}",), default_model="none", data_folder=tmp_path / "data")
        workbench = Workbench([ROOT / "spaces" / "text_to_image"], own)
        address = workbench.launch(server_name="127.0.0.1").rstrip("/")
        answer = httpx.post(f"{address}/text-to-image", json={"prompt": "a"})
        assert answer.status_code == 503 and "healthz" in answer.json()["error"] and answer.headers["retry-after"]
        workbench.close()


def test_mcp(address: str) -> None:
    """With a progress token gradio 6.31 sends the picture itself; without one, text with its address."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def progress(done: float, total: float | None, message: str | None) -> None:
        """Asking for progress is what counts."""

    async def call() -> tuple[list[str], object, object, object]:
        async with streamable_http_client(f"{address}/gradio_api/mcp/") as (read, write, *_):
            async with ClientSession(read, write) as session:
                await session.initialize()
                tools = [t.name for t in (await session.list_tools()).tools]
                ask = ("text_to_image", {"prompt": "a red car", "steps": 2})
                several = (ask[0], ask[1] | {"count": 2})
                watched = await session.call_tool(*ask, progress_callback=progress)
                return tools, watched, await session.call_tool(*ask), await session.call_tool(*several)

    tools, watched, plain, several = asyncio.run(call())
    assert tools == ["text_to_image"]
    assert not watched.isError and any(c.type == "image" for c in watched.content)
    assert not plain.isError and f"{address}/gradio_api/file=" in plain.content[0].text
    assert not several.isError and several.content[0].text.count(f"{address}/gradio_api/file=") == 2


def test_no_path_of_this_machine_in_an_answer(address: str, folders: dict[str, Path]) -> None:
    for route in ("/healthz", "/config", "/gradio_api/info"):
        text = httpx.get(address + route).text
        assert str(folders["sd"].parent) not in text and "tiny_scenes/weights" not in text, route


@pytest.mark.parametrize(
    "path", ["/etc/passwd", str(Path(__file__)), "../../etc/passwd", "models/tiny_scenes/weights/model_index.json"]
)
def test_no_file_of_this_machine_is_served(address: str, path: str) -> None:
    for prefix in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
        assert httpx.get(address + prefix + path).status_code in (403, 404), prefix
