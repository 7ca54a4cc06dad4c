"""Every tab with axe-core, light, dark and on a phone, and by keyboard alone. axe comes with a package: no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from lib.onnx_inspect.examples import EXAMPLES
from lib.settings import EMBEDDED, Settings
from tests.spaces.conftest import serve

pytestmark = pytest.mark.browser
TABS = ("pictures", "inspect", "convert", "train")
SLOW = 300_000  # ms; two busy cores convert and train
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# What is wrong in gradio's own markup and cannot be mended by our CSS or script: (rule, start of the selector) -> why.
GRADIO: dict[tuple[str, str], str] = {}
COLOURS = "{ runOnly: ['color-contrast'] }"  # all that the dark theme changes
SHAPES = "{ rules: { 'color-contrast': { enabled: false } } }"  # all that a narrow window changes


@pytest.fixture(scope="module")
def address(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with all tabs."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("accessible")
        own = replace(settings, default_model=EMBEDDED, data_folder=home / "data")
        for workbench in serve(own, patch, home / "gradio", ("text_to_image", "onnx_inspect", "convert", "train")):
            yield workbench.address


@pytest.fixture
def page(browser, address: str, request) -> Iterator[Any]:  # type: ignore[no-untyped-def]
    context = browser.new_context(viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}/?tab={request.node.callspec.params['slug']}")
    page.wait_for_function("document.querySelector('#tabs [role=tab]') && !document.documentElement.className")
    yield page
    context.close()


def tab(page, name: str) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("tab", name=name, exact=True).click()


def upload(page, folder: Path) -> None:  # type: ignore[no-untyped-def]
    path = folder / "digits.onnx"
    path.write_bytes(EXAMPLES["digits"]().SerializeToString())
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.locator("input[type=file]").first.set_input_files(str(path))


def pictures(page, folder: Path) -> Iterator[str]:  # type: ignore[no-untyped-def]
    page.get_by_text("is ready on cpu").wait_for()
    page.get_by_label("Prompt", exact=True).first.fill("a red car")
    page.get_by_label("number input for Steps").first.fill("2")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator('img[alt="a red car"]').first.wait_for()
    yield "a picture"


def inspect(page, folder: Path) -> Iterator[str]:  # type: ignore[no-untyped-def]
    page.get_by_text("troubled", exact=True).click()
    page.locator("#onnx-summary .mw-facts").wait_for()
    page.frame_locator("iframe.mw-netron").locator("body.default").wait_for()
    yield "a graph"
    tab(page, "Nodes and cost")
    page.get_by_role("gridcell").first.wait_for()
    yield "nodes"
    tab(page, "Weights")
    page.get_by_role("gridcell", name="w", exact=True).first.click()
    page.get_by_text("first values").wait_for()
    yield "a weight"
    tab(page, "Problems")
    page.locator("#onnx-problems td").first.wait_for()
    yield "problems"
    tab(page, "Run")
    page.get_by_text("Your own inputs").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome .mw-verdict").wait_for()
    yield "a run"
    tab(page, "Compare")
    page.get_by_role("button", name="Compare two examples").click()
    page.locator("#onnx-difference .mw-chip").wait_for()
    yield "two models"
    tab(page, "Build")
    page.get_by_role("button", name="Build", exact=True).click()
    page.locator("#onnx-built .mw-chip").first.wait_for()
    yield "a built model"


def convert(page, folder: Path) -> Iterator[str]:  # type: ignore[no-untyped-def]
    page.get_by_text("Everything this installation can convert").click()
    page.locator("#convert-table td").first.wait_for()
    yield "all conversions"
    upload(page, folder)
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for(timeout=SLOW)
    for words in ("Compare several targets", "Samples of real inputs", "Verification"):
        page.get_by_text(words, exact=True).click()
    yield "a source"
    page.get_by_role("button", name="Convert", exact=True).click()
    page.locator("#convert-verdict .mw-word").wait_for(timeout=SLOW)
    yield "a verdict"
    for name in ("Steps", "Size and speed", "Messages", "Report"):
        tab(page, name)
        yield name


def train(page, folder: Path) -> Iterator[str]:  # type: ignore[no-untyped-def]
    page.get_by_role("button", name="Digits").click()
    page.locator("#train-data").get_by_text("10 classes").wait_for()
    page.get_by_text("More settings").click()
    yield "pictures"
    page.get_by_label("Feature extraction").check()
    page.get_by_label("Epochs", exact=True).fill("1")
    page.get_by_label("Size", exact=True).fill("32")
    page.keyboard.press("Tab")
    page.locator("#train-start").click()
    page.locator("#train-stage").get_by_text("95% interval").wait_for(timeout=SLOW)
    page.locator("#train-matrix button").first.click()
    page.locator("#train-cell figure").first.wait_for()
    yield "a result"
    tab(page, "Try it")
    page.locator("#train-samples button").first.click()
    page.locator("#train-answer .mw-scores").wait_for(timeout=SLOW)
    yield "an answer"
    for name, found in (("Export", "#train-files"), ("Watch", "text=Serve it"), ("Runs", "#train-runs td")):
        tab(page, name)
        page.locator(found).first.wait_for(state="attached")
        yield name


STATES: dict[str, Callable[[Any, Path], Iterator[str]]] = {
    "pictures": pictures,
    "inspect": inspect,
    "convert": convert,
    "train": train,
}


def faults(page, options: str) -> list[tuple[str, str, str]]:  # type: ignore[no-untyped-def]
    """Rule, selector and impact of what axe finds here; frames are pages of their own (Netron, TensorBoard)."""
    found = page.evaluate(f"axe.run({{ exclude: [['iframe']] }}, {{ resultTypes: ['violations'], ...{options} }})")
    rows = [(v["id"], " ".join(map(str, n["target"])), v["impact"]) for v in found["violations"] for n in v["nodes"]]
    return [row for row in rows if not any(row[0] == rule and row[1].startswith(start) for rule, start in GRADIO)]


@pytest.mark.parametrize("slug", TABS)
def test_axe_finds_nothing_serious(page, slug: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page.evaluate(AXE_SCRIPT)
    page.add_style_tag(content="* { transition: none !important; }")  # half-way, a colour is neither of the two
    states, found, name = STATES[slug](page, tmp_path), [], "empty"
    while name:
        for theme, size, options in (("light", DESKTOP, "{}"), ("dark", DESKTOP, COLOURS), ("light", PHONE, SHAPES)):
            page.evaluate(f"document.body.classList.toggle('dark', {str(theme == 'dark').lower()})")
            page.set_viewport_size(size)
            found += [(name, theme, size["width"], *row) for row in faults(page, options)]
        page.set_viewport_size(DESKTOP)
        name = next(states, "")
    print(f"axe, {slug}: {dict(Counter(row[-1] for row in found))}")
    serious = [" ".join(map(str, row)) for row in found if row[-1] in ("serious", "critical")]
    assert not serious, "\n".join(serious)


# Where the Tab key can stop, with how each looks without focus. Of a group of radio buttons one is a stop.
STOPS = """() => {
  window.look = (e) => { const s = getComputedStyle(e); return [s.outline, s.boxShadow, s.borderColor].join(); };
  const groups = new Set();
  const kinds = 'a[href], button, input, textarea, select, summary, [tabindex]';
  window.stops = [...document.querySelectorAll(kinds)].filter((e) => {
    if (e.tabIndex < 0 || e.disabled || !e.checkVisibility({ visibilityProperty: true }) || !e.getClientRects().length)
      return false;
    if (e.type !== 'radio') return true;
    const same = [...document.querySelectorAll('input[type=radio]')].filter((one) => one.name === e.name && !one.disabled);
    const stop = same.find((one) => one.checked) ?? same[0];
    return stop === e && !groups.has(e.name) && groups.add(e.name);
  });
  window.calm = new Map(stops.map((e) => [e, look(e)]));
  window.words = (e) => (e.ariaLabel || e.labels?.[0]?.textContent || e.textContent || e.title || '').trim().slice(0, 60);
  return stops.length;
}"""
HERE = """() => {
  const e = document.activeElement, box = e.getBoundingClientRect();
  if (e === document.body) return null;
  return { stop: stops.indexOf(e), words: words(e), seen: look(e) !== calm.get(e), left: box.left, right: box.right,
    top: box.top + scrollY, bottom: box.bottom + scrollY };
}"""
MAX_STOPS = 120


def walk(page) -> list[dict[str, Any]]:  # type: ignore[no-untyped-def]
    """Every stop of the Tab key, from the first to where the page ends or begins again."""
    page.evaluate("scrollTo(0, 0)")
    page.mouse.click(2, 2)  # from here on the browser looks for the next stop
    page.evaluate(STOPS)
    found: list[dict[str, Any]] = []
    for _ in range(MAX_STOPS):
        page.keyboard.press("Tab")
        here = page.evaluate(HERE)
        if here is None or (found and here["stop"] == found[0]["stop"]):
            return found
        found.append(here)
    raise AssertionError(f"over {MAX_STOPS} stops, the last of them {found[-5:]}")


def reach(page, words: str) -> None:  # type: ignore[no-untyped-def]
    """Presses Tab until the control with these words has the focus."""
    page.evaluate("scrollTo(0, 0)")
    page.mouse.click(2, 2)
    page.evaluate(STOPS)
    for _ in range(MAX_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate("words => window.words(document.activeElement).includes(words)", words):
            return
    raise AssertionError(f"Tab does not reach {words!r}")


def check_order(page) -> None:  # type: ignore[no-untyped-def]
    found = walk(page)
    missed = page.evaluate(
        "reached => stops.map((e, k) => [k, words(e)]).filter(([k]) => !reached.includes(k)).map(([, w]) => w)",
        [one["stop"] for one in found],
    )
    assert missed == []
    assert [one["words"] for one in found if not one["seen"]] == []
    for before, after in pairwise(found):  # upwards only into the next column
        up = after["bottom"] <= before["top"]
        assert not up or after["left"] >= before["right"] - 1, (before["words"], after["words"])


def by_keyboard_pictures(page) -> None:  # type: ignore[no-untyped-def]
    page.get_by_text("is ready on cpu").wait_for()
    reach(page, "Scheduler")
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name="DDIM", exact=True).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("option", name="DDIM", exact=True).wait_for(state="hidden")
    reach(page, "Prompt")
    page.keyboard.press("Control+A")
    page.keyboard.type("a red car")
    page.keyboard.press("Enter")
    page.locator('img[alt="a red car"]').first.wait_for()


def by_keyboard_inspect(page) -> None:  # type: ignore[no-untyped-def]
    reach(page, "linear")
    page.keyboard.press("Enter")
    page.locator("#onnx-summary .mw-facts").wait_for()
    reach(page, "Graph")
    page.keyboard.press("ArrowRight")
    page.get_by_role("tab", name="Nodes and cost", selected=True).wait_for()
    page.keyboard.press("End")
    page.get_by_role("tab", name="Build", selected=True).wait_for()
    reach(page, "Show the open model as text")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('#onnx-text textarea').value.includes('MatMul')")
    page.wait_for_function("[...document.querySelectorAll('button.stop')].every((button) => button.disabled)")
    check_order(page)


def by_keyboard_convert(page) -> None:  # type: ignore[no-untyped-def]
    reach(page, "Or an architecture by name")
    page.keyboard.press("ArrowDown")
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("option").first.wait_for(state="hidden")
    reach(page, "Everything this installation can convert")
    page.keyboard.press("Space")
    page.locator("#convert-table td").first.wait_for()


def by_keyboard_train(page) -> None:  # type: ignore[no-untyped-def]
    reach(page, "Digits")
    page.keyboard.press("Space")
    page.locator("#train-data").get_by_text("10 classes").wait_for()
    reach(page, "More settings")
    page.keyboard.press("Enter")
    page.get_by_label("Batch size").wait_for()
    check_order(page)
    reach(page, "Fine-tuning")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.activeElement.checked && words(document.activeElement) === 'Feature extraction'")


BY_KEYBOARD = {
    "pictures": by_keyboard_pictures,
    "inspect": by_keyboard_inspect,
    "convert": by_keyboard_convert,
    "train": by_keyboard_train,
}


@pytest.mark.parametrize("slug", TABS)
def test_the_keyboard_is_enough(page, slug: str) -> None:  # type: ignore[no-untyped-def]
    page.add_style_tag(content="* { transition: none !important; }")
    check_order(page)
    BY_KEYBOARD[slug](page)
    page.locator(f"#tab-{slug}-button").focus()
    page.keyboard.press("ArrowRight")
    other = TABS[(TABS.index(slug) + 1) % len(TABS)]
    page.wait_for_function(f"document.activeElement.id === 'tab-{other}-button' && location.search.includes('tab={other}')")
