"""A visitor in a real browser: type, generate, watch, stop, reload, find the picture again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from lib.text_to_image import png

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, address: str) -> Iterator:  # type: ignore[no-untyped-def]
    context = browser.new_context(viewport={"width": 1200, "height": 950})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.foreign = []
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else page.foreign.append(r.url))
    page.goto(address)
    page.get_by_text("is ready on cpu").wait_for()
    yield page
    context.close()


def fill(page, label: str, value: object) -> None:  # type: ignore[no-untyped-def]
    box = page.get_by_label(label, exact=True).first
    box.fill(str(value))
    box.blur()


def generate(page, prompt: str, steps: int = 6) -> None:  # type: ignore[no-untyped-def]
    fill(page, "Prompt", prompt)
    page.get_by_label("number input for Steps").fill(str(steps))
    page.get_by_label("number input for Steps").blur()
    page.get_by_role("button", name="Generate").click()


def finished(page) -> None:  # type: ignore[no-untyped-def]
    page.locator("#picture img").first.wait_for()


def test_type_generate_watch_reload_find_again(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a red car on a track", steps=40)
    page.locator("img.mw-preview").wait_for()
    assert re.search(r"Step \d+ of 40", page.locator(".mw-words").inner_text())
    finished(page)
    page.wait_for_function("document.querySelector('#parameters textarea').value !== ''")
    assert "Steps: 40, Sampler: DPM++ 2M" in page.locator("#parameters textarea").input_value()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    download.value.save_as(tmp_path / "mine.png")
    assert png.read_request((tmp_path / "mine.png").read_bytes()).prompt == "a red car on a track"
    assert Image.open(tmp_path / "mine.png").size == (128, 128)

    page.locator("#gallery img").first.wait_for()
    page.reload()
    page.locator("#gallery img").first.wait_for()
    page.locator("#gallery button:has(img)").first.click()
    finished(page)
    assert "a red car on a track" in page.locator("#parameters textarea").input_value()
    assert not page.errors


def test_stop(page) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a blue boat", steps=150)
    page.locator("img.mw-preview").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    page.wait_for_timeout(500)
    health = page.request.get(page.url + "healthz").json()
    assert health["rows_in_batch"] == 0
    generate(page, "a blue boat", steps=2)  # and it goes on
    finished(page)


def test_a_closed_page_frees_what_it_held(browser, page, address: str) -> None:  # type: ignore[no-untyped-def]
    other = browser.new_page()
    other.goto(address)
    other.get_by_text("is ready on cpu").wait_for()
    generate(other, "a green robot", steps=150)
    other.locator("img.mw-preview").wait_for()
    other.close()
    for _ in range(100):
        if page.request.get(address + "/healthz").json()["rows_in_batch"] == 0:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the rows of a closed page are still there")


def test_settings_from_a_picture(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    info = {
        "prompt": "a pink fish under water",
        "negative_prompt": "red",
        "steps": 7,
        "guidance_scale": 3.0,
        "seed": 5,
        "width": 128,
        "height": 128,
        "scheduler": "Euler a",
        "model": "tiny-scenes",
        "revision": "x",
    }
    (tmp_path / "p.png").write_bytes(png.encode(Image.new("RGB", (8, 8)), info))
    page.get_by_text("Settings from a picture").click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "p.png")
    page.wait_for_function("document.querySelector('textarea').value === 'a pink fish under water'")
    assert page.get_by_label("number input for Steps").input_value() == "7"
    assert page.get_by_label("Seed").input_value() == "5"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page.reload()
    page.get_by_text("Settings from a picture").click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "bad.png")
    page.get_by_text("picture was 'a file that is not a readable PNG'").first.wait_for()


def test_a_bad_value_is_explained_and_nothing_is_lost(page) -> None:  # type: ignore[no-untyped-def]
    fill(page, "Width", 100)
    generate(page, "a red car")
    page.get_by_text("width was 100; allowed: a multiple of 8").first.wait_for()
    assert page.get_by_label("Prompt", exact=True).first.input_value() == "a red car"


def test_a_prompt_is_text_and_never_html(page) -> None:  # type: ignore[no-untyped-def]
    generate(page, '<img src=x onerror="window.hacked=1"> a red car', steps=3)
    finished(page)
    assert page.evaluate("window.hacked") is None


def test_the_page_talks_to_nobody_else(page) -> None:  # type: ignore[no-untyped-def]
    page.wait_for_timeout(1000)
    assert page.foreign == []


def test_a_phone_sees_the_picture_right_after_the_button(browser, address: str) -> None:  # type: ignore[no-untyped-def]
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(address)
    page.get_by_text("is ready on cpu").wait_for()
    button = page.get_by_role("button", name="Generate").bounding_box()
    stage = page.locator(".mw-stage").bounding_box()
    assert 0 < stage["y"] - button["y"] < 300 and stage["width"] > 300
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    generate(page, "a red car on a track", steps=2)
    finished(page)
    page.locator("#gallery img").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
