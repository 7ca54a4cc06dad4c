"""What all tabs share, in a real browser: addresses, memory, keyboard, what is spoken, a calm start, few bytes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageChops

from lib.onnx_inspect.examples import EXAMPLES
from lib.settings import EMBEDDED, Settings
from tests.spaces.conftest import serve

pytestmark = pytest.mark.browser
SLOW = 300_000  # ms
TABS = {"pictures": "Text to image", "inspect": "Inspect", "convert": "Convert"}

# before any script of the page: layout shifts, the first chosen tab, what is spoken
WATCH = """
window.shifts = []; window.firstTab = null; window.spoken = [];
new PerformanceObserver((list) => {
  for (const e of list.getEntries()) if (!e.hadRecentInput) shifts.push(e.value);
}).observe({ type: "layout-shift", buffered: true });
new MutationObserver(() => {
  firstTab ??= document.querySelector("#tabs [role=tab][aria-selected=true]")?.textContent ?? null;
  const words = document.querySelector("#mw-live")?.textContent;
  if (words && words !== spoken.at(-1)) spoken.push(words);
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
"""


@pytest.fixture(scope="module")
def bench(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator:  # type: ignore[no-untyped-def]
    """The app with three tabs."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("whole")
        own = replace(settings, default_model=EMBEDDED, data_folder=home / "data")
        yield from serve(own, patch, home / "gradio", ("text_to_image", "onnx_inspect", "convert"))


@pytest.fixture
def whole(bench) -> str:  # type: ignore[no-untyped-def]
    return bench.address


@pytest.fixture
def visit(browser, whole: str) -> Iterator:  # type: ignore[no-untyped-def]
    """Opens an address for a visitor of its own, or for the one who has the page that is given."""
    contexts = []

    def go(path: str = "/", like=None, **options: object):  # type: ignore[no-untyped-def]
        if like is None:
            options = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"} | options
            contexts.append(browser.new_context(**options))
            contexts[-1].add_init_script(WATCH)
        page = (like.context if like else contexts[-1]).new_page()
        page.set_default_timeout(60_000)
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(whole + path)
        drawn(page)
        return page

    yield go
    for context in contexts:
        context.close()


def drawn(page) -> None:  # type: ignore[no-untyped-def]
    page.wait_for_function("document.querySelector('#tabs [role=tab]') && !document.documentElement.className")


def chosen(page) -> str:  # type: ignore[no-untyped-def]
    return page.locator("#tabs [role=tab][aria-selected=true]").first.inner_text()


def choose(page, slug: str) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("tab", name=TABS[slug], exact=True).click()
    page.wait_for_function(f"new URLSearchParams(location.search).get('tab') === '{slug}'")


def model(tmp_path: Path, name: str = "digits") -> Path:
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(EXAMPLES[name]().SerializeToString())
    return path


def upload(page, path: Path) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("tabpanel").filter(visible=True).locator("input[type=file]").first.set_input_files(str(path))


def generate(page, prompt: str, steps: int = 3) -> None:  # type: ignore[no-untyped-def]
    page.get_by_text("is ready on cpu").wait_for()
    page.get_by_label("Prompt", exact=True).first.fill(prompt)
    page.get_by_label("number input for Steps").fill(str(steps))
    page.get_by_label("number input for Steps").blur()
    page.get_by_role("button", name="Generate").click()
    page.locator(f'#picture img[alt="{prompt}"]').wait_for()


@pytest.mark.parametrize("slug", TABS)
def test_an_address_opens_its_tab_and_no_other_one_first(visit, slug: str) -> None:  # type: ignore[no-untyped-def]
    page = visit(f"/?tab={slug}")
    assert chosen(page) == page.evaluate("firstTab") == TABS[slug]
    assert page.errors == []


def test_tabs_go_into_the_history(visit, whole: str) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?__theme=dark&tab=inspect")
    before = page.evaluate("history.length")
    choose(page, "convert")
    choose(page, "pictures")
    assert page.evaluate("history.length") == before + 2 and "__theme=dark" in page.url
    for name in ("convert", "inspect"):
        page.go_back()
        page.wait_for_function(f"document.querySelector('#tab-{name}-button')?.getAttribute('aria-selected') === 'true'")
    page.go_forward()
    page.wait_for_function("document.querySelector('#tab-convert-button').getAttribute('aria-selected') === 'true'")
    page.reload()
    drawn(page)
    assert chosen(page) == "Convert" and page.evaluate("history.length") == before + 2
    page.goto(f"{whole}/?tab=nonsense")
    drawn(page)
    assert chosen(page) == "Text to image"


@pytest.mark.parametrize(
    ("path", "slug"), [("/convert", "convert"), ("/inspect-onnx", "inspect"), ("/pictures", "pictures")]
)
def test_a_browser_finds_the_page_behind_a_route(visit, whole: str, path: str, slug: str) -> None:  # type: ignore[no-untyped-def]
    page = visit(path)
    assert page.url == f"{whole}/?tab={slug}" and chosen(page) == TABS[slug]


def test_a_program_is_told_to_post(whole: str) -> None:
    answer = httpx.get(f"{whole}/convert")
    assert answer.status_code == 405 and "POST" in answer.json()["error"] and answer.headers["allow"] == "POST"
    assert httpx.post(f"{whole}/convert").status_code == 422
    assert httpx.get(f"{whole}/text-to-image").status_code == 422  # which is a route of programs


def test_a_reload_keeps_form_and_picture(visit) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?tab=pictures")
    generate(page, "a red car on a track", steps=4)
    page.get_by_label("Negative prompt").fill("blue")
    page.get_by_label("Scheduler").click()
    page.get_by_role("option", name="Euler a").click()
    page.reload()
    drawn(page)
    page.locator('#picture img[alt="a red car on a track"]').wait_for()
    assert "Steps: 4" in page.locator("#parameters textarea").input_value()
    assert page.get_by_label("Prompt", exact=True).first.input_value() == "a red car on a track"
    assert page.get_by_label("Negative prompt").input_value() == "blue"
    assert page.get_by_label("number input for Steps").input_value() == "4"
    assert page.get_by_label("Scheduler").input_value() == "Euler a"
    assert page.locator('#gallery img[alt="a red car on a track"]').count() == 1
    stranger = visit("/?tab=pictures")
    assert stranger.locator("#picture img, #gallery img").count() == 0
    assert stranger.get_by_label("Negative prompt").input_value() == ""


@pytest.mark.slow
def test_a_form_that_no_longer_fits_is_left_out(visit) -> None:  # type: ignore[no-untyped-def]
    """A browser's storage is anybody's: what is in it may be from another version, or rubbish."""
    page = visit("/?tab=pictures")
    page.evaluate("localStorage.setItem('model-workbench-pictures', 'rubbish')")
    page.evaluate("localStorage.setItem('model-workbench-visitor', 'rubbish')")
    page.reload()
    drawn(page)
    assert page.get_by_label("number input for Steps").input_value() == "20"
    generate(page, "a green boat")


@pytest.mark.slow
def test_a_reload_keeps_the_open_model(visit, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?tab=inspect")
    upload(page, model(tmp_path))
    page.locator("#onnx-summary").get_by_text("digits.onnx", exact=True).wait_for()
    page.get_by_role("tab", name="Nodes and cost").click()
    page.locator("#onnx-sizes").get_by_role("textbox").fill("batch=4")
    page.get_by_role("button", name="Recount").click()
    page.locator("#onnx-summary").get_by_text("with batch = 4").wait_for()
    page.reload()
    page.locator("#onnx-summary").get_by_text("with batch = 4").wait_for()
    page.frame_locator("iframe.mw-netron").locator("body.default").wait_for()
    page.locator(".file-preview").get_by_text("digits").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Report .json").click()
    assert json.loads(Path(download.value.path()).read_text())["macs"] == 4 * 1031744
    page.get_by_role("tab", name="Nodes and cost").click()
    assert page.locator("#onnx-sizes").get_by_role("textbox").input_value() == "batch=4"
    page.get_by_role("tab", name="Run", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("agree", exact=True).wait_for()
    stranger = visit("/?tab=inspect")
    assert "digits.onnx" not in stranger.locator("#onnx-summary").inner_text()
    assert page.errors == stranger.errors == []


@pytest.mark.slow
def test_two_pages_of_a_visitor_do_not_take_each_others_model(visit, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = visit("/?tab=inspect")
    upload(first, model(tmp_path))
    first.locator("#onnx-summary").get_by_text("digits.onnx", exact=True).wait_for()
    second = visit("/?tab=inspect", like=first)
    second.locator("#onnx-summary").get_by_text("digits.onnx", exact=True).wait_for()
    second.get_by_text("loop", exact=True).click()
    second.locator("#onnx-summary").get_by_text("loop.onnx", exact=True).wait_for()
    first.get_by_role("tab", name="Run", exact=True).click()
    first.get_by_role("button", name="Run", exact=True).click()
    first.locator("#onnx-outcome").get_by_text("agree", exact=True).wait_for()


def test_a_closed_page_is_noticed(visit, bench) -> None:  # type: ignore[no-untyped-def]
    """After a while it lets go of what it held (tests/web/test_visits.py)."""

    def left() -> int:
        return sum(page.left is not None for page in list(bench.visits._sessions.values()))

    page = visit("/?tab=inspect")
    page.get_by_text("loop", exact=True).click()
    page.locator("#onnx-summary .mw-facts").wait_for()
    other, before = visit("/?tab=convert", like=page), left()
    page.close()
    for _ in range(200):
        if left() > before:
            return
        other.wait_for_timeout(200)
    raise AssertionError("nobody heard that the page was closed")


@pytest.mark.slow
def test_a_reload_keeps_source_target_and_verdict(visit, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?tab=convert")
    upload(page, model(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for(timeout=SLOW)
    page.locator("#convert-targets").get_by_text(re.compile("^ONNX, float16 · ")).click()
    page.get_by_label("Keep float32 inputs and outputs").check()
    page.get_by_role("button", name="Convert", exact=True).click()
    page.locator("#convert-verdict .mw-word").wait_for(timeout=SLOW)
    page.wait_for_timeout(500)
    page.reload()
    page.locator("#convert-verdict .mw-word").wait_for()
    assert "proven" in page.locator("#convert-verdict").inner_text()
    assert "digits.onnx" in page.locator("#convert-about").inner_text()
    checked = page.locator("#convert-targets label:has(input:checked)").inner_text()
    assert checked.startswith("ONNX, float16") and page.get_by_label("Keep float32 inputs and outputs").is_checked()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the model").click()
    assert download.value.suggested_filename == "digits-fp16.onnx" and Path(download.value.path()).stat().st_size > 1000
    page.get_by_role("button", name="Open in Inspect").click()  # the address follows
    page.wait_for_function("new URLSearchParams(location.search).get('tab') === 'inspect'")
    stranger = visit("/?tab=convert")
    assert stranger.locator("#convert-verdict .mw-card").count() == 0
    assert page.errors == stranger.errors == []


def test_the_keyboard_starts_at_the_tabs_and_arrows_go_between_them(visit) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?tab=inspect")
    page.keyboard.press("Tab")
    focused = "document.activeElement.textContent.trim()"
    assert page.evaluate(focused) == "Inspect"
    for key, name in (
        ("ArrowRight", "Convert"),
        ("ArrowRight", "Text to image"),
        ("ArrowLeft", "Convert"),
        ("Home", "Text to image"),
        ("End", "Convert"),
        ("ArrowLeft", "Inspect"),
    ):
        page.keyboard.press(key)
        page.wait_for_function(f"document.querySelector('#tabs [aria-selected=true]').textContent === '{name}'")
        assert page.evaluate(focused) == name
    page.wait_for_function("document.querySelectorAll('#tabs > div > [role=tablist] > [tabindex=\"0\"]').length === 1")
    page.keyboard.press("Tab")  # one stop for the whole bar
    # the name is set once the tab is drawn, which a busy machine does later
    page.wait_for_function("(document.activeElement.getAttribute('aria-label') || '').includes('drop files')")


FIELDS = {
    "text field": ("pictures", "#tabs textarea"),
    "number": ("pictures", "[aria-label^='number input for Steps']"),
    "combobox": ("pictures", "[aria-label=Scheduler]"),
    "slider": ("pictures", "input[type=range]"),
    "button": ("pictures", "button.secondary"),
    "main button": ("pictures", "button.primary"),
    "tab": ("pictures", "#tab-pictures-button"),
    "upload": ("inspect", "button[aria-label*='drop files']"),
    "example": ("inspect", "#onnx-examples button"),
    "radio": ("inspect", "fieldset input[type=radio]:checked"),
    "checkbox": ("convert", "input[type=checkbox]"),
    "radio of targets": ("convert", "#convert-targets input:checked"),
}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_focus_shows_on_every_kind_of_field(visit, scheme: str) -> None:  # type: ignore[no-untyped-def]
    """As pixels: the ring must differ from the ground beside it by 3 : 1, more or less."""
    unseen = []
    for slug in TABS:
        page = visit(f"/?tab={slug}&__theme={scheme}", viewport={"width": 1280, "height": 1600})
        if slug == "inspect":
            page.get_by_role("tab", name="Build", exact=True).click()
        if slug == "convert":
            page.locator("#convert-examples").get_by_text("JAX attention").click()
            page.locator("#convert-about").get_by_text("jax:attention", exact=True).wait_for(timeout=SLOW)
            page.get_by_text("Compare several targets", exact=True).click()
        page.add_style_tag(content="* { caret-color: transparent !important; transition: none !important; }")
        page.mouse.move(1, 1)
        page.keyboard.press("Tab")  # from here on the browser takes focus as the keyboard's
        for what, (where, selector) in FIELDS.items():
            if where != slug:
                continue
            box = page.locator(selector).filter(visible=True).first
            box.scroll_into_view_if_needed()
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(200)
            before = Image.open(io.BytesIO(page.screenshot())).convert("L")
            box.focus()
            page.wait_for_timeout(200)
            after = Image.open(io.BytesIO(page.screenshot())).convert("L")
            area = box.bounding_box()
            edge = (area["x"] - 6, area["y"] - 6, area["x"] + area["width"] + 6, area["y"] + area["height"] + 6)
            changed = ImageChops.difference(before, after).crop(tuple(int(v) for v in edge)).point(lambda v: 255 * (v > 60))
            if changed.histogram()[255] < (area["width"] + area["height"]):  # half of a ring one pixel wide
                unseen.append(what)
            page.keyboard.press("Escape")
    assert unseen == []


@pytest.mark.slow
def test_little_moves_while_the_page_comes_and_when_a_picture_does(visit) -> None:  # type: ignore[no-untyped-def]
    for size in ({"width": 1280, "height": 900}, {"width": 390, "height": 844}):
        page = visit("/?tab=pictures", viewport=size)
        for _ in range(2):
            page.wait_for_timeout(1500)
            assert page.evaluate("shifts.reduce((a, b) => a + b, 0)") < 0.1
            page.reload()
            drawn(page)
        page.wait_for_timeout(1500)
        before = page.evaluate("shifts.length")
        generate(page, "a red car on a track", steps=15)
        page.wait_for_timeout(1000)
        assert page.evaluate(f"shifts.slice({before}).reduce((a, b) => a + b, 0)") < 0.05
        generate(page, "a large blue rocket in space", steps=15)
        page.wait_for_timeout(1000)
        assert page.evaluate(f"shifts.slice({before}).reduce((a, b) => a + b, 0)") < 0.1
    for slug in ("inspect", "convert"):
        page = visit(f"/?tab={slug}")
        page.wait_for_timeout(1500)
        assert page.evaluate("shifts.reduce((a, b) => a + b, 0)") < 0.1


@pytest.mark.slow
def test_start_quarters_and_end_are_spoken_and_no_step(visit) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?tab=pictures")
    generate(page, "a red car on a track", steps=40)
    page.wait_for_function("spoken.at(-1)?.startsWith('Picture ready')")
    spoken = page.evaluate("spoken")
    assert spoken[-1] == "Picture ready: a red car on a track"
    assert {"Drawing, 25 %", "Drawing, 50 %", "Drawing, 75 %"} & set(spoken)
    assert len(spoken) <= 7 and not any("Step" in words for words in spoken)


@pytest.mark.slow
def test_stop_is_there_only_for_what_runs(visit) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?tab=pictures")
    page.get_by_text("is ready on cpu").wait_for()
    stop = page.get_by_role("tabpanel").filter(visible=True).get_by_role("button", name="Stop")
    assert stop.is_disabled()
    page.get_by_label("number input for Steps").fill("150")
    page.get_by_role("button", name="Generate").click()
    page.locator("img.mw-preview").wait_for()
    assert stop.is_enabled()
    stop.click()
    page.get_by_text("Stopped at step").first.wait_for()
    page.wait_for_function("[...document.querySelectorAll('button.stop')].every((b) => b.disabled)")
    for slug in ("inspect", "convert"):
        choose(page, slug)
        page.locator("#onnx-examples, #convert-examples").filter(visible=True).wait_for()
        assert page.locator("button.stop:not([disabled])").filter(visible=True).count() == 0


def test_headings_go_down_step_by_step(visit) -> None:  # type: ignore[no-untyped-def]
    page = visit("/?tab=inspect")
    page.get_by_text("digits", exact=True).click()
    page.locator("#onnx-summary .mw-facts").wait_for()
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter((e) => e.offsetParent).map((e) => +e.tagName[1])"
    )
    assert levels[:2] == [1, 2] and 3 in levels and levels.count(1) == levels.count(2) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.locator("div[aria-label]:not([role])").count() == 0


LUMINANCE = """
(element) => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let ground = element;
  while (ground && (parse(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
  const two = [light(parse(getComputedStyle(element).color).slice(0, 3)),
    light(parse(getComputedStyle(ground ?? document.body).backgroundColor).slice(0, 3))].sort((a, b) => b - a);
  return (two[0] + 0.05) / (two[1] + 0.05);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_quiet_words_and_buttons_can_be_read(visit, scheme: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """4.5 : 1, as WCAG AA asks. axe-core says more; this is what went wrong once."""
    page = visit(f"/?tab=pictures&__theme={scheme}")
    found = {}
    for selector in (".mw-header p", "button.primary", "#tabs .gallery-item .gallery", "span[data-testid=block-info]"):
        found[selector] = page.locator(selector).filter(visible=True).first.evaluate(LUMINANCE)
    found["hint"] = page.get_by_text("-1 = random").evaluate(LUMINANCE)
    found["label of examples"] = page.get_by_text("Or try an example").evaluate(LUMINANCE)
    choose(page, "inspect")
    upload(page, model(tmp_path))
    page.locator("#onnx-summary .mw-facts").wait_for()
    found["link of a file"] = page.locator(".file-preview a").filter(visible=True).first.evaluate(LUMINANCE)
    for selector in (".mw-facts dt", ".mw-card h3", ".mw-chip.ok"):
        found[selector] = page.locator(f"#onnx-summary {selector}").first.evaluate(LUMINANCE)
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def test_the_index_is_small_and_streams_are_not_held_back(whole: str) -> None:
    with httpx.stream("GET", whole, headers={"accept-encoding": "gzip"}) as answer:
        packed = sum(len(piece) for piece in answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
    plain = httpx.get(whole, headers={"accept-encoding": "identity"}).text
    assert packed < 60_000 < len(plain) / 4
    assert 'property="og:title" content="Model Workbench"' in plain and "{url}" not in plain.split("<script", 1)[0]
    assert not re.search("<meta[^>]*githubusercontent", plain)
    with httpx.stream("GET", f"{whole}/gradio_api/heartbeat/nobody", headers={"accept-encoding": "gzip"}) as answer:
        assert "content-encoding" not in answer.headers
        assert next(answer.iter_raw()).startswith(b"data: ALIVE")
    picture = httpx.post(
        f"{whole}/text-to-image", json={"prompt": "a red car", "steps": 1}, headers={"accept-encoding": "gzip"}
    )
    assert picture.status_code == 200 and "content-encoding" not in picture.headers
