"""A visitor in a real browser: type, generate, watch, stop, reload, find the picture again, and work with it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from lib.settings import EMBEDDED, Settings
from lib.text_to_image import png
from lib.text_to_image.models import Model
from tests.spaces.conftest import serve
from tests.text_to_image.loras.make import write

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, address: str) -> Iterator:  # type: ignore[no-untyped-def]
    context = browser.new_context(viewport={"width": 1200, "height": 950})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
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


def steps(page, number: int) -> None:  # type: ignore[no-untyped-def]
    page.get_by_label("number input for Steps").fill(str(number))
    page.get_by_label("number input for Steps").blur()


def generate(page, prompt: str, number: int = 6) -> None:  # type: ignore[no-untyped-def]
    fill(page, "Prompt", prompt)
    steps(page, number)
    page.locator("#generate").click()


def finished(page) -> None:  # type: ignore[no-untyped-def]
    page.locator("#picture img").first.wait_for()


def idle(page) -> None:  # type: ignore[no-untyped-def]
    """Nothing is under way any more."""
    page.get_by_role("button", name="Generate", exact=True).wait_for()


def thumbnails(page, number: int) -> list[str]:  # type: ignore[no-untyped-def]
    """The words under the small pictures, once there are so many."""
    page.wait_for_function(f"document.querySelectorAll('#gallery [data-name]').length === {number}")
    return page.locator("#gallery .mw-seed").all_inner_texts()


def rows(page) -> int:  # type: ignore[no-untyped-def]
    return page.request.get(re.sub(r"\?.*", "", page.url) + "healthz").json()["rows_in_batch"]


def freed(page) -> None:  # type: ignore[no-untyped-def]
    for _ in range(300):
        if rows(page) == 0:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the rows are still there")


def test_type_generate_watch_reload_find_again(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a red car on a track", 40)
    page.locator("img.mw-preview").wait_for()
    assert re.search(r"Step \d+ of 40", page.locator(".mw-words").inner_text())
    finished(page)
    shown = page.locator("#parameters textarea").input_value()
    assert "Steps: 40, Scheduler: DPM++ 2M, Guidance: 4" in shown
    assert re.search(r"128 × 128 px, shown enlarged · seed \d+ · \d+\.\d s", page.locator("#about").inner_text())
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PNG").click()
    assert re.fullmatch(r"a-red-car-on-a-track-\d{1,10}\.png", download.value.suggested_filename)
    download.value.save_as(tmp_path / "mine.png")
    assert png.read_request((tmp_path / "mine.png").read_bytes()).prompt == "a red car on a track"
    assert Image.open(tmp_path / "mine.png").size == (128, 128)

    thumbnails(page, 1)
    page.reload()
    finished(page)
    page.locator("#gallery button:has(img)").first.click()
    page.locator("#gallery [aria-current]").wait_for()
    assert page.locator("#parameters textarea").input_value() == shown
    assert not page.errors


@pytest.mark.slow
def test_every_click_is_a_picture(page) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a red car on a track", 150)
    page.get_by_role("button", name="Generate (1 running)").wait_for()
    fill(page, "Prompt", "a blue boat")
    page.locator("#generate").click()
    page.get_by_role("button", name="Generate (2 running)").wait_for()
    page.locator(".mw-tile img.mw-preview").first.wait_for()
    idle(page)
    seeds = thumbnails(page, 2)
    assert len(set(seeds)) == 2 and page.locator(".mw-tile img.mw-made").count() == 2
    page.locator(".mw-tile").last.click()
    page.locator('#picture img[alt="a blue boat"]').wait_for()
    page.locator("#gallery [aria-current]").wait_for()
    assert not page.errors


def test_stop_keeps_the_last_preview_as_a_picture(page) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a blue boat", 150)
    page.locator("img.mw-preview").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text(re.compile(r"Stopped at step \d+ of 150")).first.wait_for()
    assert thumbnails(page, 1)[0].startswith("stopped · ")
    freed(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PNG").click()
    assert "-stopped-at-" in download.value.suggested_filename
    generate(page, "a blue boat", 2)  # and it goes on
    thumbnails(page, 2)
    idle(page)


@pytest.mark.slow
def test_a_reload_loses_nothing_that_is_under_way(page) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a blue boat", 150)
    page.locator("img.mw-preview").wait_for()
    page.reload()
    page.get_by_role("button", name="Generate (1 running)").wait_for()
    page.errors.clear()  # gradio's own words for the stream that the reload cut
    page.locator('#picture img[alt="a blue boat"]').wait_for()
    assert not thumbnails(page, 1)[0].startswith("stopped") and not page.errors


@pytest.mark.slow
def test_another_page_of_the_visitor_learns_of_it(page, address: str) -> None:  # type: ignore[no-untyped-def]
    other = page.context.new_page()
    other.goto(address)
    other.get_by_text("is ready on cpu").wait_for()
    generate(page, "a green robot", 3)
    thumbnails(page, 1)
    assert thumbnails(other, 1)
    page.get_by_role("button", name="Delete", exact=True).click()
    thumbnails(page, 0)
    assert thumbnails(other, 0) == []


@pytest.mark.slow
def test_a_closed_page_frees_what_it_held(browser, page, address: str) -> None:  # type: ignore[no-untyped-def]
    other = browser.new_page()
    other.goto(address)
    other.get_by_text("is ready on cpu").wait_for()
    steps(other, 150)
    for number in range(1, 9):  # more than is done in the time that a page has to come back
        other.locator("#generate").click()
        other.get_by_role("button", name=f"Generate ({number} running)").wait_for()
    other.close()
    freed(page)


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
    page.locator(".mw-error").get_by_text(re.compile(r"\d+ settings restored")).wait_for()
    assert page.get_by_label("Prompt", exact=True).input_value() == "a pink fish under water"
    assert page.get_by_label("number input for Steps").input_value() == "7"
    assert page.get_by_label("Seed").input_value() == "5"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page.reload()
    page.get_by_text("Settings from a picture").click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "bad.png")
    page.get_by_text("This is a file that is not a readable PNG").wait_for()


def test_what_is_wrong_stands_under_its_field_and_nothing_is_lost(page) -> None:  # type: ignore[no-untyped-def]
    generate(page, "", 3)
    page.locator(".mw-error").get_by_text("Type a prompt first.", exact=True).wait_for()
    idle(page)
    assert page.get_by_label("number input for Steps").input_value() == "3"
    generate(page, "a red car", 3)
    finished(page)
    source = page.locator("#picture img").get_attribute("src")
    fill(page, "Width", 100)
    fill(page, "Height", 5000)
    fill(page, "Seed", 99999999999)
    fill(page, "Prompt", "  ")
    page.locator("#generate").click()
    for words in (
        "Type a prompt first.",
        "Width must be a multiple of 8.",
        "Seed must be a whole number from -1 to 4294967295.",
    ):
        page.locator(".mw-error").get_by_text(words, exact=True).wait_for()
    assert page.locator(".mw-error").get_by_text("Height must be a whole number from 0 to 4096.").count() == 1
    assert page.locator("#picture img").get_attribute("src") == source
    fill(page, "Prompt", "a blue boat")
    page.get_by_text("Type a prompt first.").wait_for(state="detached")
    fill(page, "Width", 512)
    fill(page, "Height", 1024)
    fill(page, "Seed", 7)
    page.locator("#generate").click()
    for side in ("Width", "Height"):
        page.get_by_text(f"{side} must be 64 to 256 for tiny-scenes (trained at 128).").wait_for()
    fill(page, "Width", 0)
    fill(page, "Height", 0)
    page.locator("#generate").click()
    page.locator('#picture img[alt="a blue boat"]').wait_for()
    assert page.locator(".mw-error p").count() == 0 and not page.errors


def test_enter_generates_and_shift_enter_is_a_new_line(page) -> None:  # type: ignore[no-untyped-def]
    steps(page, 2)
    box = page.get_by_label("Prompt", exact=True)
    box.fill("a red car")
    box.press("Shift+Enter")
    box.press_sequentially("on a track")
    box.press("Enter")
    finished(page)
    assert box.input_value() == "a red car\non a track"
    thumbnails(page, 1)


def test_reuse_all_settings_and_the_seed(page) -> None:  # type: ignore[no-untyped-def]
    fill(page, "Negative prompt", "blue")
    generate(page, "a red car on a track", 4)
    finished(page)
    (seed,) = thumbnails(page, 1)
    fill(page, "Negative prompt", "")
    fill(page, "Prompt", "a green robot")
    steps(page, 9)
    page.get_by_role("button", name="Reuse seed").click()
    page.wait_for_function(f"document.querySelector('[aria-label=Seed]').value === '{seed}'")
    assert page.get_by_label("Prompt", exact=True).input_value() == "a green robot"
    page.get_by_role("button", name="Reuse all settings").click()
    page.locator(".mw-error").get_by_text(re.compile(r"\d+ settings restored")).wait_for()
    assert page.get_by_label("Prompt", exact=True).input_value() == "a red car on a track"
    assert page.get_by_label("Negative prompt").input_value() == "blue"
    assert page.get_by_label("number input for Steps").input_value() == "4"


@pytest.mark.slow
def test_large_with_arrows_delete_one_and_all(page) -> None:  # type: ignore[no-untyped-def]
    for place, prompt in enumerate(("a red car on a track", "a blue boat", "a green robot")):
        generate(page, prompt, 2)
        page.locator(f'#picture img[alt="{prompt}"]').wait_for()
        thumbnails(page, place + 1)
    page.locator("#picture button").click()
    viewer = page.locator("dialog.mw-viewer")
    viewer.get_by_text("1 of 3").wait_for()
    assert viewer.get_by_label("Newer picture").is_disabled()
    page.keyboard.press("ArrowRight")
    viewer.get_by_text(re.compile("2 of 3 · seed .* · a blue boat")).wait_for()
    viewer.get_by_role("button", name="Delete").click()
    viewer.get_by_text(re.compile("2 of 2 · seed .* · a red car")).wait_for()
    page.keyboard.press("Escape")
    page.locator('#picture img[alt="a red car on a track"]').wait_for()
    assert thumbnails(page, 2)
    page.get_by_text("Delete all …").click()
    assert page.locator("#gallery [data-name]").count() == 2  # it asks first
    page.get_by_role("button", name="Delete 2 pictures").click()
    thumbnails(page, 0)
    page.get_by_text("Your picture appears here.").wait_for()
    assert not page.errors


def test_all_in_a_zip(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for place, prompt in enumerate(("a red car", "a blue boat")):
        generate(page, prompt, 2)
        thumbnails(page, place + 1)
        idle(page)  # the button is drawn anew at the end: a click in that moment would be lost
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all (.zip)").click()
    assert download.value.suggested_filename == "pictures.zip"
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        prompts = [png.read_request(archive.read(name)).prompt for name in archive.namelist()]
    assert prompts == ["a blue boat", "a red car"]


def test_a_picture_that_was_deleted_is_gone_from_its_address(page, address: str) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a red car", 2)
    finished(page)
    source = page.locator("#picture img").evaluate("(image) => image.src")
    assert page.request.get(source).headers["content-type"] == "image/png"
    page.get_by_role("button", name="Delete", exact=True).click()
    thumbnails(page, 0)
    assert page.request.get(source).status == 404


@pytest.fixture
def owned(browser, settings: Settings, embedded: Model, tmp_path: Path) -> Iterator:  # type: ignore[no-untyped-def]
    """A page of an app whose owner lists a model that is not there, and a LoRA.

    Not for the module: gradio's folder is in the environment, and the other app takes uploads from its own only.
    """
    home = tmp_path
    write(home / "ink.safetensors", embedded.pipeline, "kohya", seed=1, rank=4, alpha=0.4)
    more = {"models": (EMBEDDED, f"nowhere={home / 'nowhere'}"), "loras": (f"ink={home / 'ink.safetensors'}",)}
    own = replace(settings, default_model=EMBEDDED, data_folder=home / "data", **more)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        for app in serve(own, patch, home / "gradio"):
            page = browser.new_page()
            page.set_default_timeout(60_000)
            page.goto(app.address)
            page.get_by_text("is ready on cpu").wait_for()
            yield page
            page.close()


@pytest.mark.slow
def test_a_model_that_cannot_be_had_says_so_and_the_form_goes_back(owned) -> None:  # type: ignore[no-untyped-def]
    model, number = owned.get_by_label("Model", exact=True), owned.get_by_label("number input for Steps")
    model.click()
    owned.get_by_role("option", name="nowhere (its files are missing)").click()
    owned.wait_for_function("document.querySelector('[aria-label^=\"number input for Steps\"]').value === '25'")
    owned.locator("#generate").click()
    owned.locator(".mw-error").get_by_text("nowhere could not be loaded").wait_for()
    assert model.input_value() == EMBEDDED and number.input_value() == "20"


@pytest.mark.slow
def test_a_lora_from_the_owners_list(owned) -> None:  # type: ignore[no-untyped-def]
    owned.get_by_label("Add a LoRA").click()
    owned.get_by_role("option", name="ink").click()
    box = owned.locator("#lora :is(input, textarea)")
    owned.wait_for_function("document.querySelector('#lora :is(input, textarea)').value === 'ink:1'")
    box.fill("ink:9")
    generate(owned, "a red car", 3)
    owned.locator(".mw-error").get_by_text(re.compile("LoRA must be .*weights 0 to 2")).wait_for()
    box.fill("ink:0.5")
    owned.locator("#generate").click()
    finished(owned)
    assert "LoRA: ink:0.5" in owned.locator("#parameters textarea").input_value()


def test_the_tokens_of_a_prompt_are_counted(page) -> None:  # type: ignore[no-untyped-def]
    fill(page, "Prompt", "a red car")
    page.locator("#tokens").get_by_text(re.compile(r"^3 / \d+ tokens$")).wait_for()


def test_several_at_once_have_seeds_that_follow_each_other(page) -> None:  # type: ignore[no-untyped-def]
    page.get_by_label("number input for Pictures").fill("4")
    page.get_by_label("number input for Pictures").blur()
    fill(page, "Seed", 4294967294)
    generate(page, "a blue boat", 3)
    assert set(thumbnails(page, 4)) == {"4294967294", "4294967295", "0", "1"}
    page.get_by_text(re.compile("4 pictures in .* s")).wait_for()
    assert page.locator(".mw-tile img.mw-made").count() == 4


@pytest.mark.slow
def test_image_to_image_with_a_painted_mask(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    generate(page, "a red car on a track", 4)
    finished(page)
    thumbnails(page, 1)
    first = page.request.get(page.locator("#picture img").evaluate("(image) => image.src")).body()
    page.get_by_role("button", name="Image to image", exact=True).click()
    canvas = page.locator("#start canvas").first
    canvas.wait_for()
    page.locator("#start").get_by_text(re.compile(r"\d+%")).wait_for()
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x - 10, y)
    page.mouse.down()
    page.mouse.move(x + 10, y, steps=5)
    page.mouse.up()
    fill(page, "Prompt", "a blue boat")
    page.locator("#generate").click()
    page.locator('#picture img[alt="a blue boat"]').wait_for()
    words = page.locator("#parameters textarea").input_value()
    assert re.search(r"Strength: 0.75, Start picture: [0-9a-f]{10}, Mask: [0-9a-f]{10}", words)
    second = page.request.get(page.locator("#picture img").evaluate("(image) => image.src")).body()
    (tmp_path / "1.png").write_bytes(first)
    (tmp_path / "2.png").write_bytes(second)
    one, two = (Image.open(tmp_path / name).convert("RGB") for name in ("1.png", "2.png"))
    assert ImageChops.difference(one, two).crop((0, 0, 128, 8)).getbbox() is None  # what was not painted on
    assert ImageChops.difference(one, two).getbbox() is not None


@pytest.mark.slow
def test_a_start_picture_that_is_no_picture(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """It is opened in a child process, whatever it is called."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page.get_by_text("Image to image and inpainting").click()
    page.locator("#start input[type=file]").first.set_input_files(tmp_path / "bad.png")
    page.locator("#generate").click()
    page.locator('#picture img, .mw-error p:has-text("cannot be used")').first.wait_for()


def test_a_prompt_is_text_and_never_html(page) -> None:  # type: ignore[no-untyped-def]
    generate(page, '<img src=x onerror="window.hacked=1"> a red car', 3)
    finished(page)
    thumbnails(page, 1)
    assert page.evaluate("window.hacked") is None


def test_the_page_talks_to_nobody_else(page) -> None:  # type: ignore[no-untyped-def]
    page.wait_for_timeout(1000)
    assert page.foreign == []


def test_a_phone_sees_the_picture_right_after_the_button(browser, address: str) -> None:  # type: ignore[no-untyped-def]
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(address)
    page.get_by_text("is ready on cpu").wait_for()
    button = page.locator("#generate").bounding_box()
    stage = page.locator(".mw-stage").bounding_box()
    assert 0 < stage["y"] - button["y"] < 300 and stage["width"] > 300
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    generate(page, "a red car on a track", 2)
    finished(page)
    thumbnails(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    gallery = page.locator("#gallery [data-name]").bounding_box()
    assert gallery["y"] < page.get_by_label("Negative prompt").bounding_box()["y"]
    page.close()
