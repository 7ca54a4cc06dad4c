"""A visitor of the inspector in a real browser: open, look, run, build, compare, download."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from PIL import Image

from lib.onnx_inspect.examples import EXAMPLES
from tests.spaces.test_onnx_inspect_doors import SPIN, idle

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, inspector: str) -> Iterator:  # type: ignore[no-untyped-def]
    context = browser.new_context(viewport={"width": 1280, "height": 950}, color_scheme="null")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.errors, page.foreign = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((inspector, "data:", "blob:")) else page.foreign.append(r.url))
    page.goto(inspector)
    page.get_by_text("Or try an example", exact=True).wait_for()
    yield page
    context.close()


def upload(page, *paths: Path) -> None:  # type: ignore[no-untyped-def]
    page.locator("input[type=file]").first.set_input_files([str(p) for p in paths])
    page.locator("#onnx-summary").get_by_text(paths[0].name, exact=True).wait_for()


def tab(page, name: str) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("tab", name=name, exact=True).click()


def save(tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(EXAMPLES[name]().SerializeToString())
    return path


def test_open_look_run_and_download(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path, "digits"))
    assert "1.03 M (1,031,744), with batch = 1" in page.locator("#onnx-summary").inner_text()
    frame = page.frame_locator("iframe.mw-netron")
    frame.locator("body.default").wait_for()
    assert frame.get_by_text("Conv", exact=True).count() == 2
    tab(page, "Nodes and cost")
    page.get_by_role("gridcell", name="/conv2").first.wait_for()
    tab(page, "Run")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("agree", exact=True).wait_for()
    assert "median" in page.locator("#onnx-outcome").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Report .json").click()
    report = json.loads(Path(download.value.path()).read_text())
    assert (
        report["valid"]
        and report["macs"] == 1031744
        and report["run"]["agree"]
        and download.value.suggested_filename == "digits.report.json"
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Report .md").click()
    assert Path(download.value.path()).read_text().startswith("# `digits.onnx`")
    assert page.errors == [] and page.foreign == []


def test_a_bad_file_says_why_and_the_page_goes_on(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"PK\x03\x04" + bytes(100))
    page.locator("input[type=file]").first.set_input_files(str(bad))
    page.locator("#onnx-summary").get_by_text("a zip archive (a PyTorch checkpoint").wait_for()
    page.get_by_text("loop", exact=True).click()
    page.locator("#onnx-summary").get_by_text("loop.onnx", exact=True).wait_for()


@pytest.mark.slow
def test_names_from_a_model_stay_text(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    evil = '<img src=x onerror="window.evil=1">'
    model = EXAMPLES["troubled"]()
    model.doc_string = model.graph.name = model.producer_name = evil
    for node in model.graph.node:
        node.name = node.doc_string = evil + node.name
    for tensor in model.graph.initializer:
        for node in model.graph.node:
            node.input[:] = [evil + "w" if n == tensor.name == "w" else n for n in node.input]
        tensor.name = evil + "w" if tensor.name == "w" else tensor.name
    path = tmp_path / "evil.onnx"
    path.write_bytes(model.SerializeToString())
    upload(page, path)
    for name in ("Nodes and cost", "Weights", "Problems", "Run"):
        tab(page, name)
        page.wait_for_timeout(300)
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome .mw-verdict").wait_for()
    assert page.evaluate("window.evil") is None and page.locator("img[src=x]").count() == 0
    tab(page, "Problems")
    assert evil in page.get_by_role("tabpanel").filter(visible=True).last.inner_text()


def test_build_makes_the_open_model(page) -> None:  # type: ignore[no-untyped-def]
    tab(page, "Build")
    page.get_by_role("button", name="Build", exact=True).click()
    page.locator("#onnx-built").get_by_text("built", exact=True).wait_for()
    assert "A linear layer: Y = X·A + B" in page.locator("#onnx-summary").inner_text()
    tab(page, "Run")
    page.get_by_text("Your own inputs").click()
    page.get_by_label("Or values as JSON").fill('{"X": [[1, 1, 1, 1]]}')
    page.get_by_role("button", name="Run", exact=True).click()
    # rows of A sum to 1.5 a column; B is 0.1, 0.2, 0.3
    page.locator("#onnx-outcome").get_by_text("1.6").first.wait_for()
    tab(page, "Build")
    page.locator("#onnx-text textarea").fill("nonsense")
    page.get_by_role("button", name="Build", exact=True).click()
    page.locator("#onnx-built").get_by_text("Syntax error in the ONNX text").wait_for()


@pytest.mark.slow
def test_stop(page, inspector: str) -> None:  # type: ignore[no-untyped-def]
    tab(page, "Build")
    page.locator("#onnx-text textarea").fill(SPIN)
    page.get_by_role("button", name="Build", exact=True).click()
    page.locator("#onnx-built").get_by_text("built", exact=True).wait_for()
    tab(page, "Run")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("Running in onnxruntime").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator("#onnx-outcome").get_by_text("Stopped.").wait_for()
    assert idle(inspector)


def test_compare(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    tab(page, "Compare")
    for box, name in (("#onnx-old", "digits"), ("#onnx-new", "digits-retrained")):
        page.locator(f"{box} input[type=file]").set_input_files(str(save(tmp_path, name)))
        page.locator(f"{box} .file-preview").wait_for()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("#onnx-difference").get_by_text("1 initializer changed, 1 node changed, 1 node added").wait_for()


@pytest.mark.slow
def test_the_open_model_is_before(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path, "digits"))
    tab(page, "Compare")
    page.locator("#onnx-new input[type=file]").set_input_files(str(save(tmp_path, "digits-retrained")))
    page.locator("#onnx-new .file-preview").wait_for()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("#onnx-difference").get_by_text("1 initializer changed, 1 node changed, 1 node added").wait_for()


def test_two_models_at_once_are_offered_for_comparison(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    old, new = save(tmp_path, "digits"), save(tmp_path, "digits-retrained")
    page.locator("input[type=file]").first.set_input_files([str(old), str(new)])
    page.get_by_role("button", name="Compare them").click()
    page.locator("#onnx-difference").get_by_text("1 initializer changed, 1 node changed, 1 node added").wait_for()


def test_a_missing_file_completes_the_model_when_it_is_added(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    onnx.save(EXAMPLES["digits"](), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    upload(page, tmp_path / "m.onnx")
    page.get_by_text("Incomplete: also add m.data, which holds 6 tensors.").wait_for()
    page.locator("input[type=file]").first.set_input_files(str(tmp_path / "m.data"))
    page.locator("#onnx-summary").get_by_text("valid", exact=True).wait_for()
    assert page.locator(".file-preview").first.inner_text().count(".data") == 1


def test_a_broken_file_dims_the_model_before_and_it_comes_back(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path, "digits"))
    page.get_by_role("button", name="Report .json").and_(page.locator(":enabled")).wait_for()
    (tmp_path / "bad.onnx").write_text("These are only words, and no model at all.")
    page.locator("input[type=file]").first.set_input_files(str(tmp_path / "bad.onnx"))
    page.locator("#onnx-summary").get_by_text("This is a text file, not an ONNX model.").wait_for()
    page.get_by_role("button", name="Report .json").and_(page.locator(":disabled")).wait_for()
    assert float(page.locator("#onnx-tabs").evaluate("(tabs) => getComputedStyle(tabs).opacity")) < 0.6
    page.get_by_role("button", name="Show the open model").click()
    page.locator("#onnx-summary").get_by_text("digits.onnx", exact=True).wait_for()
    page.get_by_role("button", name="Report .json").and_(page.locator(":enabled")).wait_for()
    assert page.locator("#onnx-tabs").evaluate("(tabs) => getComputedStyle(tabs).opacity") == "1"


def test_problems_graph_and_weights_lead_to_each_other(page) -> None:  # type: ignore[no-untyped-def]
    page.get_by_text("troubled", exact=True).click()
    page.locator("#onnx-summary").get_by_text("troubled.onnx", exact=True).wait_for()
    tab(page, "Problems")
    page.locator("#onnx-problems").get_by_role("button", name="noise").click()
    frame = page.frame_locator("iframe.mw-netron")
    frame.get_by_text("Node Properties", exact=False).wait_for()
    page.locator("#onnx-node").get_by_text("RandomNormalLike without a seed").wait_for()
    frame.get_by_text("MatMul", exact=True).first.click()
    page.locator("#onnx-node [data-onnx-weight]").first.click()
    page.get_by_text("8 × 8, 512 B").wait_for()
    assert page.errors == []


@pytest.mark.slow
def test_a_picture_as_input_is_shown_and_what_was_guessed_is_said(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path, "digits"))
    Image.new("L", (40, 40), 255).save(tmp_path / "white.png")
    tab(page, "Run")
    page.get_by_text("Your own inputs").click()
    page.locator("#onnx-samples input[type=file]").set_input_files(str(tmp_path / "white.png"))
    page.locator("#onnx-preview img").wait_for()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("Pictures become 28 x 28 pixels").wait_for()
    assert "Run on one sample of white.png" in page.locator("#onnx-outcome").inner_text()


def test_a_phone_sees_it_all(browser, inspector: str) -> None:  # type: ignore[no-untyped-def]
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, color_scheme="null")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{inspector}?__theme=dark")
    page.get_by_text("digits", exact=True).click()
    page.locator("#onnx-summary .mw-facts").wait_for()
    tab(page, "Nodes and cost")
    page.get_by_role("gridcell", name="/conv2").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
