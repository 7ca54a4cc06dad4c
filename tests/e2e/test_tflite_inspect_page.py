"""A visitor of the inspector with a .tflite in a real browser: open, look, run, edit metadata, download, a bundle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from PIL import Image

from lib.tflite import metadata
from tests.convert.tflite_models import dense
from tests.e2e import test_convert_page as convert
from tests.e2e.test_convert_page import both, visit  # noqa: F401
from tests.e2e.test_onnx_inspect_page import page, tab, upload  # noqa: F401
from tests.tflite.files import classifier

pytestmark = pytest.mark.browser
LABELS = ["cat", "dog", "bird", "fish"]


def test_open_edit_download_and_read_back(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """The file is the converter's own fixture, without metadata."""
    path = (dense(tmp_path)[0] / "model.tflite").rename(tmp_path / "dense.tflite")
    upload(page, path)
    summary = page.locator("#onnx-summary")
    assert "1 FULLY_CONNECTED" in summary.inner_text() and "author and licence are unknown" in summary.inner_text()
    frame = page.frame_locator("iframe.mw-netron")
    frame.locator("body.default").wait_for()
    assert frame.get_by_text("FullyConnected", exact=True).count() == 1
    tab(page, "Tensors")
    page.locator("#onnx-tensors").get_by_role("gridcell", name="weights", exact=True).first.wait_for()
    tab(page, "Metadata")
    page.locator("#onnx-metadata").get_by_text("no metadata", exact=True).wait_for()
    page.get_by_role("button", name="Write metadata").click()
    page.locator("#onnx-written").get_by_text("Nothing has changed").wait_for()
    page.get_by_label("Author").fill("Ada Lovelace")
    page.get_by_label("Labels").fill("cat\ndog")
    page.get_by_role("button", name="Write metadata").click()
    page.locator("#onnx-written").get_by_text("The number of labels cannot be “2”").wait_for()  # the output has four scores
    page.get_by_label("Labels").fill("\n".join(LABELS))
    page.get_by_role("button", name="Write metadata").click()
    page.locator("#onnx-written").get_by_text("is now the open model").wait_for()
    assert "Ada Lovelace" in summary.inner_text() and "4: cat, dog, bird, fish" in summary.inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .tflite").click()
    assert download.value.suggested_filename == "dense.tflite"
    read = metadata.read(Path(download.value.path()))
    assert read is not None and read.author == "Ada Lovelace" and read.labels == tuple(LABELS)
    tab(page, "Run")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("LiteRT matches its reference kernels").wait_for()
    assert all(label in page.locator("#onnx-outcome").inner_text() for label in LABELS)
    assert page.errors == [] and page.foreign == []


@pytest.mark.slow
def test_a_node_of_the_graph_and_a_picture(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    classifier(tmp_path / "plain.tflite")
    upload(page, tmp_path / "plain.tflite")
    frame = page.frame_locator("iframe.mw-netron")
    frame.locator("body.default").wait_for()
    frame.get_by_text("FullyConnected", exact=True).click()
    page.locator("#onnx-node").get_by_text("12 MACs").wait_for()
    page.locator("#onnx-node").get_by_role("button", name="weights").click()  # from the card to the values
    page.locator("#onnx-tabs .mw-card").filter(has_text="used by").wait_for()
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "red.png")
    tab(page, "Run")
    page.get_by_text("Your own inputs").click()
    page.locator("#onnx-samples input[type=file]").set_input_files(str(tmp_path / "red.png"))
    page.locator("#onnx-preview").get_by_text("red.png").wait_for()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("red.png").wait_for()
    assert page.errors == []


def test_an_onnx_model_after_a_tflite_hides_its_tabs(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    classifier(tmp_path / "plain.tflite")
    upload(page, tmp_path / "plain.tflite")
    page.get_by_role("tab", name="Metadata", exact=True).wait_for()
    page.get_by_text("loop", exact=True).click()
    page.locator("#onnx-summary").get_by_text("loop.onnx").wait_for()
    page.get_by_role("tab", name="Metadata", exact=True).wait_for(state="detached")
    cut = tmp_path / "cut.tflite"
    cut.write_bytes((tmp_path / "plain.tflite").read_bytes()[:500])
    page.locator("input[type=file]").first.set_input_files(str(cut))
    page.locator("#onnx-summary").get_by_text("damaged or cut off").wait_for()


@pytest.mark.slow
def test_a_bundle_offers_what_is_in_it(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    classifier(tmp_path / "plain.tflite")
    small = dense(tmp_path)[0] / "model.tflite"
    with zipfile.ZipFile(tmp_path / "hands.task", "w") as bundle:
        bundle.write(tmp_path / "plain.tflite", "detector.tflite")
        bundle.write(small, "landmarks.tflite")
    page.locator("input[type=file]").first.set_input_files(str(tmp_path / "hands.task"))
    page.locator("#onnx-summary").get_by_text("detector.tflite of hands.task").wait_for()
    page.locator("#onnx-member").get_by_text("landmarks.tflite").click()
    page.locator("#onnx-summary").get_by_text("landmarks.tflite of hands.task").wait_for()
    assert "1 FULLY_CONNECTED" in page.locator("#onnx-summary").inner_text()
    assert page.errors == []


@pytest.mark.slow
def test_from_inspect_to_convert_and_back(browser, both: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """The open .tflite goes to Convert under its own name; what becomes of it comes back as a .tflite."""
    path = (dense(tmp_path, width=256)[0] / "model.tflite").rename(tmp_path / "dense.tflite")
    at = visit(browser, both, viewport={"width": 1280, "height": 950})
    at.get_by_role("tab", name="Inspect").click()
    convert.upload(at, path)
    at.locator("#onnx-summary").get_by_text("dense.tflite").wait_for()
    at.locator("#onnx-convert").click()
    at.locator("#convert-about").get_by_text("dense.tflite").wait_for(timeout=convert.SLOW)
    convert.become(at, "TensorFlow Lite, float16 weights")
    convert.start(at)
    assert "proven" in convert.verdict(at)
    at.get_by_role("button", name="Open in Inspect").click()
    summary = at.locator("#onnx-summary")
    summary.get_by_text("float16").first.wait_for()
    assert "FULLY_CONNECTED" in summary.inner_text() and ".tflite" in summary.inner_text()
    at.get_by_role("tab", name="Metadata", exact=True).wait_for()
    assert at.errors == []
    at.context.close()
