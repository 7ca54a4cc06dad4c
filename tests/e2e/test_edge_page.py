"""A visitor on the way to the edge: from `objects` to a downloaded .tflite that MediaPipe runs, the browser, the watch."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lib.settings import Settings
from tests.e2e.test_train_page import SLOW, chip, choose_objects, fill, tab, watch
from tests.environments import need_onnx2tf
from tests.onnxruntime_web import package
from tests.spaces.conftest import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]  # TensorFlow Lite needs an environment of its own
SIDE = 64  # pixels of the trained network
MAKING = 300_000  # ms; an export is converted and checked, on two busy cores
HOST = "https://cdn.jsdelivr.net/"


@pytest.fixture(scope="module")
def trainer(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("edge")
        need_onnx2tf(replace(settings, data_folder=home / "data"))
        for workbench in serve(replace(settings, data_folder=home / "data"), patch, home / "gradio", ("train",)):
            yield workbench.address


@pytest.fixture(scope="module")
def page(browser, trainer: str) -> Iterator[Any]:  # type: ignore[no-untyped-def]
    """A page whose visitor has trained `objects`, as good as one epoch does."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = watch(context.new_page(), trainer)
    page.set_default_timeout(SLOW * 2)
    page.goto(f"{trainer}/?tab=train")
    page.locator("#train-start").wait_for()
    page.wait_for_function("!document.documentElement.classList.contains('mw-drawing')")
    choose_objects(page)
    fill(page, Epochs=1, Size=SIDE)
    page.locator("#train-start").click()
    page.locator("#train-stage").get_by_text("300 test pictures").wait_for(timeout=MAKING)
    chip(page, "done")
    yield page
    assert page.errors == [] and [url for url in page.foreign if not url.startswith(HOST)] == []
    context.close()


@pytest.fixture(scope="module")
def files(page, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """The ONNX and the float32 TFLite are made, and the latter is downloaded: its path."""
    tab(page, "Export")
    for name in ("TFLite float16", "TFLite int8"):
        page.get_by_label(name).uncheck()
    page.get_by_role("button", name="Make the files").click()  # once it is enabled
    page.locator("#train-export [role=progressbar]").wait_for()
    link = page.get_by_role("link", name="Download TFLite float32")
    link.wait_for(timeout=MAKING)
    with page.expect_download() as download:
        link.click()
    path = tmp_path_factory.mktemp("download") / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.fixture(scope="module")
def pictures(page, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:  # type: ignore[no-untyped-def]
    """The page's own samples as PNGs of the network's size, so that nobody has to resize them."""
    from PIL import Image

    tab(page, "Try it")
    page.locator("#train-samples img").nth(4).wait_for()
    home, found = tmp_path_factory.mktemp("pictures"), []
    for k in range(5):
        content = page.locator("#train-samples img").nth(k).get_attribute("src").partition(",")[2]
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            image.convert("RGB").resize((SIDE, SIDE)).save(home / f"{k}.png")
        found.append(home / f"{k}.png")
    return found


def run_of(page) -> str:  # type: ignore[no-untyped-def]
    """The id of the shown run, as its links have it."""
    return page.locator("#train-files a").first.get_attribute("href").split("/")[-2]


def said(page) -> Any:  # type: ignore[no-untyped-def]
    """The line of the card "In this browser"."""
    return page.locator("#train-browser [data-part=said]")


MEDIAPIPE = """
import json, sys
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

model, *pictures = sys.argv[1:]
options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
with ImageClassifier.create_from_options(options) as network:
    found = [network.classify(mp.Image.create_from_file(path)).classifications[0].categories for path in pictures]
print(json.dumps([{one.category_name: one.score for one in categories} for categories in found]))
"""


def test_the_downloaded_file_says_in_mediapipe_what_the_run_says(
    page, trainer: str, files: Path, pictures: list[Path]
) -> None:  # type: ignore[no-untyped-def]
    assert files.suffix == ".tflite" and files.name == "objects.tflite"
    cells = page.locator("#train-files tr", has_text="TFLite float32").locator("td").all_text_contents()
    assert re.fullmatch(r"\d+\.\d", cells[1]) and re.match(r"\d+\.\d%", cells[2]) and cells[5] == "runs", cells
    done = subprocess.run([sys.executable, "-c", MEDIAPIPE, files, *pictures], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for path, found in zip(pictures, json.loads(done.stdout.splitlines()[-1]), strict=True):
        expected = httpx.post(f"{trainer}/classify?run={run_of(page)}", content=path.read_bytes(), timeout=120).json()[
            "scores"
        ]
        assert found.keys() == expected.keys()  # the labels came with the file
        assert max(found, key=found.__getitem__) == max(expected, key=expected.__getitem__)
        assert max(abs(found[name] - expected[name]) for name in found) < 1e-3


def test_the_files_are_there_after_a_reload(page, files: Path) -> None:  # type: ignore[no-untyped-def]
    page.reload()
    tab(page, "Export")
    page.get_by_role("link", name="Download TFLite float32").wait_for()
    page.get_by_role("link", name="Download ONNX").wait_for()


def test_every_runtime_says_the_same_of_one_picture(page, files: Path, pictures: list[Path]) -> None:  # type: ignore[no-untyped-def]
    tab(page, "Try it")
    page.locator("#train-photo input[type=file]").set_input_files(str(pictures[0]))
    table = page.locator("#train-answer .mw-beside")
    for name in ("PyTorch", "onnxruntime", "LiteRT", "MediaPipe"):
        table.locator("tr", has_text=name).locator("td").nth(4).wait_for(timeout=MAKING)
    rows = [row.locator("td").all_inner_texts() for row in table.locator("tr").all()[1:]]
    assert len({row[1] for row in rows}) == 1 and all(float(row[3]) > 0 for row in rows), rows
    assert all(float(row[4].removeprefix("± ")) < 1e-3 for row in rows[1:]), rows


def cdn(page, folder: Path, spoiled: str = "") -> list[str]:  # type: ignore[no-untyped-def]
    """The public host as the npm package has it; one file of another content. The list fills with what is asked for."""
    asked: list[str] = []

    def answer(route: Any) -> None:
        name = route.request.url.rsplit("/", 1)[-1]
        asked.append(name)
        kind = "application/wasm" if name.endswith(".wasm") else "text/javascript"
        body = (folder / name).read_bytes() + (b" " if name == spoiled else b"")
        route.fulfill(body=body, headers={"content-type": kind, "access-control-allow-origin": "*"})

    page.unroute(f"{HOST}**")
    page.route(f"{HOST}**", answer)
    return asked


def test_without_the_public_host_the_browser_says_so(page, files: Path) -> None:  # type: ignore[no-untyped-def]
    tab(page, "Try it")
    assert [url for url in page.foreign if url.startswith(HOST)] == []  # nothing before a click
    page.route(f"{HOST}**", lambda route: route.abort())
    page.get_by_role("button", name="Load and start").click()
    said(page).get_by_text("Off: cdn.jsdelivr.net cannot be reached").wait_for()
    assert page.get_by_role("button", name="Load and start").is_enabled()
    page.context.set_offline(True)
    page.get_by_role("button", name="Load and start").click()
    said(page).get_by_text("Off: this device has no network").wait_for()
    page.context.set_offline(False)


@pytest.fixture(scope="module")
def built(page, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    version = json.loads(page.locator("[data-runtime]").get_attribute("data-runtime"))["version"]
    return package(version, tmp_path_factory.mktemp("npm"))


def test_a_file_with_another_checksum_does_not_run(page, files: Path, built: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        cdn(page, built, spoiled=name)
        page.get_by_role("button", name="Load and start").click()
        said(page).get_by_text("does not have the checksum").wait_for(timeout=SLOW)
        assert page.workers == []


def test_the_network_runs_in_the_browser_as_pytorch_does(page, files: Path, pictures: list[Path], built: Path) -> None:  # type: ignore[no-untyped-def]
    tab(page, "Try it")
    asked = cdn(page, built)
    page.get_by_role("button", name="Load and start").click()
    said(page).get_by_text("It runs on this device").wait_for(timeout=SLOW)
    assert sorted(asked) == ["ort-wasm-simd-threaded.wasm", "ort.wasm.bundle.min.mjs"]
    answer = page.locator("#train-browser [data-part=answer]")
    for path in pictures:
        page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
        page.get_by_text("The prediction for the picture appears here").wait_for()
        page.locator("#train-photo input[type=file]").set_input_files(str(path))
        page.locator("#train-answer [data-tried]").wait_for(timeout=SLOW)
        expected = json.loads(page.locator("#train-answer [data-tried]").get_attribute("data-tried"))
        page.get_by_role("button", name="Classify the picture above").click()
        said(page).get_by_text("from PyTorch’s probabilities").wait_for()
        found = json.loads(answer.get_attribute("data-scores"))
        assert np.abs(np.array(found) - list(expected.values())).max() < 5e-4, path
        assert answer.locator("tr").first.inner_text().split()[0] == max(expected, key=expected.__getitem__)


def test_the_camera_is_classified_until_it_is_stopped(page, files: Path) -> None:  # type: ignore[no-untyped-def]
    answer = page.locator("#train-browser [data-part=answer]")
    page.get_by_role("button", name="Start the camera").click()
    answer.get_by_text("frames/s").wait_for(timeout=SLOW)
    playing = "v => v.srcObject ? v.srcObject.getTracks().map((track) => track.readyState) : []"
    video = page.locator("#train-browser video")
    assert video.evaluate(playing) == ["live"]
    page.get_by_role("button", name="Stop the camera").click()
    said(page).get_by_text("The camera is off").wait_for()
    assert video.evaluate(playing) == [] and not video.is_visible()


def test_what_is_served_is_watched_while_the_panel_is_open(page, trainer: str, files: Path, pictures: list[Path]) -> None:  # type: ignore[no-untyped-def]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "/gradio_api/run" in request.url else None)
    tab(page, "Watch")
    panel = page.locator("#train-watch")
    panel.get_by_text("Served requests").wait_for()
    before = int(re.search(r"Requests (\d+)", panel.inner_text())[1])  # type: ignore[index]
    for path in pictures:
        url = f"{trainer}/classify?run={run_of(page)}"
        one = httpx.post(url, content=path.read_bytes(), timeout=60).json()
        httpx.post(f"{trainer}/classify/{one['id']}/truth", json={"label": one["label"]}, timeout=60).raise_for_status()
    panel.get_by_text("100.0%").first.wait_for()
    text = panel.inner_text()
    assert f"Requests {before + len(pictures)}" in text and "This is not accuracy" in text
    tab(page, "Export")
    page.wait_for_timeout(1000)
    count = len(asked)
    page.wait_for_timeout(6000)
    assert not [body for body in asked[count:] if "train-watch" in body or "mw-watch" in body]
