"""A visitor of the training tab in a real browser: choose pictures, train, look, stop, come back, try, compare, delete."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lib.settings import Settings
from tests.spaces.conftest import serve

pytestmark = pytest.mark.browser
SLOW = 120_000  # ms; two busy cores train a network


@pytest.fixture(scope="module")
def trainer(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The inspector, the converter and the training tab in one app: its address."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("train")
        own = replace(settings, data_folder=home / "data")
        for workbench in serve(own, patch, home / "gradio", ("onnx_inspect", "convert", "train")):
            yield workbench.address


def visit(browser, address: str, **options: object):  # type: ignore[no-untyped-def]
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    page = watch(context.new_page(), address)
    page.goto(f"{address}/?tab=train")
    page.locator("#train-start").wait_for()
    return page


def watch(page, address: str):  # type: ignore[no-untyped-def]
    page.set_default_timeout(60_000)
    page.errors, page.foreign = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else page.foreign.append(r.url))
    return page


@pytest.fixture
def page(browser, trainer: str) -> Iterator:  # type: ignore[no-untyped-def]
    page = visit(browser, trainer)
    yield page
    assert page.errors == [] and page.foreign == []
    page.context.close()


def fill(page, **fields: object) -> None:  # type: ignore[no-untyped-def]
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=False).first.fill(str(value))
        page.keyboard.press("Tab")


def chip(page, words: str) -> None:  # type: ignore[no-untyped-def]
    page.locator("#train-stage .mw-chip").get_by_text(words, exact=True).wait_for(timeout=SLOW)


def choose_objects(page) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("button", name="Objects").click()
    page.locator("#train-data").get_by_text("900 pictures in 12 classes").wait_for()


def tab(page, name: str) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("tab", name=name, exact=True).click()


def test_from_pictures_to_a_classifier_and_back_after_a_reload(page, trainer: str) -> None:  # type: ignore[no-untyped-def]
    choose_objects(page)
    assert page.locator("#train-data img").count() > 6 and page.locator("#train-data .mw-bars li").count() == 12
    fill(page, Epochs=1, Size=64)
    page.locator("#train-said").get_by_text(re.compile("About .* on this machine")).wait_for()

    page.locator("#train-start").click()
    chip(page, "training")
    page.locator("#train-stage .mw-curves path.line").first.wait_for(timeout=SLOW)
    assert re.search(r"pictures/s", page.locator("#train-stage").inner_text())
    assert page.locator("#train-stop").is_enabled()
    chip(page, "done")
    page.locator("#train-stage").get_by_text("300 test pictures").wait_for()
    assert "95% interval" in page.locator("#train-stage").inner_text()
    label = page.locator("#train-stage svg").last.get_attribute("aria-label")
    assert re.fullmatch(r"Accuracy: validation .*% at epoch 1\.", label)

    page.locator("#train-matrix button").first.focus()
    page.keyboard.press("Enter")
    page.locator("#train-cell figure img").first.wait_for()
    assert page.locator("#train-mistakes figure").count() > 0
    record = page.request.get(page.locator("#train-result a").first.evaluate("a => a.href")).json()
    assert record["recipe"]["image_size"] == 64 and record["weights"]["sha256"]

    tab(page, "Try it")
    page.locator("#train-samples button").first.click()
    page.locator("#train-answer .mw-scores tr").nth(4).wait_for(timeout=SLOW)
    assert " ms" in page.locator("#train-answer").inner_text()

    page.reload()
    chip(page, "done")
    page.locator("#train-data").get_by_text("900 pictures in 12 classes").wait_for()
    assert page.locator("#train-mistakes figure").count() > 0


@pytest.mark.slow
def test_tensorboard_stop_resume_and_export_of_a_run(page, trainer: str) -> None:  # type: ignore[no-untyped-def]
    choose_objects(page)
    fill(page, Epochs=1, Size=64)
    page.locator("#train-start").click()
    chip(page, "training")
    chip(page, "done")
    tab(page, "TensorBoard")
    frame = page.frame_locator("iframe.mw-board")
    frame.locator("scalar-card").first.wait_for(timeout=SLOW)
    assert "accuracy" in frame.locator("body").inner_text()

    fill(page, Epochs=200)
    page.locator("#train-start").click()
    chip(page, "training")
    other = watch(page.context.new_page(), trainer)  # the same visitor's second page sees it, too
    other.goto(f"{trainer}/?tab=train")
    chip(other, "training")
    page.locator("#train-stop").click()
    chip(page, "stopped")
    assert not page.locator("#train-stop").is_enabled()
    chip(other, "stopped")
    other.close()

    page.reload()
    chip(page, "stopped")
    page.locator("#train-data").get_by_text("900 pictures in 12 classes").wait_for()
    assert page.get_by_label("Epochs").input_value() == "200"
    assert page.get_by_role("button", name="Resume").is_visible()
    tab(page, "Runs")
    assert page.locator("#train-runs tbody tr").count() == 2
    page.locator("#train-runs button").last.click()
    chip(page, "done")
    assert page.get_by_role("button", name="Reproduce").is_visible()

    tab(page, "Export")
    for name in ("TFLite float32", "TFLite float16", "TFLite int8"):
        page.get_by_label(name).uncheck()
    page.get_by_role("button", name="Make the files").click()
    page.get_by_role("link", name="Download ONNX").wait_for(timeout=3 * SLOW)
    page.get_by_role("button", name="Open in Inspect").click()
    page.locator("#onnx-summary .mw-facts").wait_for(timeout=SLOW)
    tab(page, "Train")
    page.get_by_role("button", name="Open in Convert").filter(visible=True).click()
    page.locator("#convert-about").get_by_text("model.onnx").wait_for(timeout=SLOW)
    # the run's validation and test pictures come along, with how they become inputs
    seen = page.locator("#convert-preview .mw-samples")
    seen.wait_for(timeout=SLOW)
    assert "12 classes" in seen.inner_text() and "0..255" in seen.inner_text()


def test_a_wrong_value_is_said_beside_the_form_and_nothing_starts(page) -> None:  # type: ignore[no-untyped-def]
    page.locator("#train-start").click()
    page.locator("#train-said").get_by_text("Choose pictures first.").wait_for()
    choose_objects(page)
    fill(page, Epochs=2000)
    page.locator("#train-start").click()
    page.locator("#train-said").get_by_text("Epochs cannot be 2000").wait_for()
    assert page.get_by_label("Epochs").input_value() == "2000"
    tab(page, "Runs")
    page.get_by_text("Your runs appear here").wait_for()  # nobody else's, either


def test_names_in_a_zip_are_shown_as_they_are(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bad = "<img src=x onerror=alert(1)>{{value}}${1+1}"
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(4):
            for name in (bad, "dog"):
                archive.writestr(f"{name}/{k}.png", picture(k if name == bad else 10 + k))
        archive.writestr("dog/notes.txt", "no picture")
    page.locator("#train-drop input[type=file]").set_input_files(str(path))
    page.locator("#train-data").get_by_text("8 pictures in 2 classes").wait_for()
    shown = page.locator("#train-data").inner_text()
    assert bad in shown and "pets" in shown and "Fewer than 20 pictures" in shown
    assert page.locator("#train-data img[src=x]").count() == 0
    page.get_by_role("button", name="Delete these pictures").click()
    page.get_by_text("from this server?").wait_for()
    page.get_by_role("button", name="Delete", exact=True).filter(visible=True).first.click()
    page.locator("#train-data").get_by_text("8 pictures").wait_for(state="hidden")


def test_what_is_no_data_set_is_said_by_name(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "empty.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no picture")
    page.locator("#train-drop input[type=file]").set_input_files(str(path))
    page.locator("#train-data .mw-chip.error").wait_for()


def picture(seed: int) -> bytes:
    from PIL import Image

    image, file = Image.new("RGB", (40, 40), (seed * 12 % 256, seed * 40 % 256, 90)), io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
