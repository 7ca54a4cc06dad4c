"""Prompts and LoRAs through the doors: names, notes and tokens."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from lib.settings import EMBEDDED, Settings
from lib.text_to_image import png
from lib.text_to_image.request import Request
from tests.spaces.conftest import serve
from tests.text_to_image.loras.conftest import knowing  # noqa: F401
from tests.text_to_image.test_batch import alone, furthest

ASK: dict[str, Any] = {"prompt": "a (red:1.2) car on a track", "steps": 4, "seed": 11}


@pytest.fixture(scope="module")
def listed(knowing: Any, tmp_path_factory: pytest.TempPathFactory) -> Settings:  # noqa: F811
    own, _ = knowing(EMBEDDED)
    return replace(own, default_model=EMBEDDED, loras=(*own.loras, f"broken={tmp_path_factory.mktemp('empty')}"))


@pytest.fixture(scope="module")
def address(listed: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        for workbench in serve(replace(listed, data_folder=home / "data"), patch, home / "gradio"):
            yield workbench.address


@pytest.mark.parametrize(
    "way", [{"loras": "ink:0.5, neon"}, {"loras": {"ink": 0.5, "neon": 1}}, {"loras": ["ink:0.5", ["neon", 1]]}]
)
def test_loras_by_rest(address: str, knowing: Any, way: dict[str, Any]) -> None:  # noqa: F811
    answer = httpx.post(f"{address}/text-to-image", json=ASK | way, timeout=120)
    assert answer.status_code == 200, answer.text
    request = Request(**ASK, loras="ink:0.5, neon")
    assert furthest(Image.open(io.BytesIO(answer.content)), alone(knowing(EMBEDDED)[1], request)) <= 1
    assert png.read_request(answer.content).loras == request.loras


def test_by_a_tag_and_by_the_gradio_api(address: str, knowing: Any) -> None:  # noqa: F811
    client = Client(address, verbose=False)
    tagged, _ = client.predict(**ASK | {"prompt": ASK["prompt"] + " <lora:ink:0.5>"}, api_name="/text_to_image")
    named, info = client.predict(**ASK, loras="ink:0.5", api_name="/text_to_image")
    first, second = (Image.open(path[0] if isinstance(path, list) else path) for path in (tagged, named))
    assert furthest(first, second) <= 1
    assert info["loras"] == [["ink", 0.5]] and info["prompt"] == ASK["prompt"] and info["notes"] == []
    with pytest.raises(AppError, match="loras was 'evil'; allowed: ink, neon, broken"):
        client.predict(**ASK, loras="evil", api_name="/text_to_image")


@pytest.mark.parametrize(
    ("loras", "status", "words"),
    [
        ("evil", 422, "loras was 'evil'; allowed: ink, neon, broken."),
        ("ink:3", 422, "loras was '3'; allowed: name:weight, other:weight (weights 0 to 2"),
        ("broken", 503, "The LoRA 'broken' could not be loaded: its folder holds no .safetensors file."),
    ],
)
def test_bad_ones(address: str, loras: str, status: int, words: str) -> None:
    answer = httpx.get(f"{address}/text-to-image", params=ASK | {"loras": loras}, timeout=60)
    assert answer.status_code == status and words in answer.json()["error"]


def test_names_are_told_and_places_are_not(address: str, listed: Settings) -> None:
    document = httpx.get(f"{address}/openapi.json").text
    assert "Names: ink, neon, broken." in document
    for text in (document, httpx.get(f"{address}/config").text, httpx.get(f"{address}/gradio_api/info").text):
        assert not any(one.partition("=")[2] in text for one in listed.loras)


def test_notes_stand_in_a_header_and_in_the_picture(address: str) -> None:
    answer = httpx.post(f"{address}/text-to-image", json=ASK | {"prompt": "a unicorn ☕", "count": 1}, timeout=60)
    (note,) = json.loads(answer.headers["x-notes"])
    assert note.startswith("tiny-scenes knows none of the words that say what to draw: unicorn. It draws one of 12 objects")
    assert png.read_info(answer.content)["notes"] == [note]
    assert note not in Image.open(io.BytesIO(answer.content)).info["parameters"]
    assert httpx.post(f"{address}/text-to-image", json=ASK, timeout=60).headers["x-notes"] == "[]"


def test_tokens(address: str) -> None:
    def ask(**values: Any) -> httpx.Response:
        return httpx.get(f"{address}/text-to-image/tokens", params=values)

    assert ask(prompt=ASK["prompt"]).json() == {"tokens": 6, "room": 30, "chunks": 1, "cut": ""}
    assert ask(prompt="car " * 61, model="sdxl").json() == {"tokens": 61, "room": 90, "chunks": 3, "cut": ""}
    assert ask(prompt="car " * 250).json()["cut"] == "car car car car car car car car car car"
    assert ask().json()["tokens"] == 0
    for values, status in (
        ({"model": "x"}, 422),
        ({"prompt": "(a:99)"}, 422),
        ({"prompt": "a" * 2001}, 422),
        ({"zebra": 1}, 422),
    ):
        answer = ask(**values)
        assert answer.status_code == status and "allowed: " in answer.json()["error"]
    assert ask(model="pixart").status_code == 503
