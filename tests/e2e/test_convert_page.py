"""A visitor of the converter in a real browser: choose, look, convert, read the verdict, take it, hand it over."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from onnx import helper, numpy_helper

from lib.onnx_inspect.examples import EXAMPLES
from lib.settings import Settings
from tests.spaces import fake_hub
from tests.spaces.conftest import serve
from tests.spaces.test_convert_doors import idle, pictures, save

pytestmark = pytest.mark.browser
SLOW = 300_000  # ms; two busy cores export a network


@pytest.fixture(scope="module")
def both(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The inspector and the converter in one app: its address."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("both")
        own = replace(settings, data_folder=home / "data")
        for workbench in serve(own, patch, home / "gradio", ("onnx_inspect", "convert")):
            yield workbench.address


def visit(browser, address: str, **options: object):  # type: ignore[no-untyped-def]
    context = browser.new_context(color_scheme="null", **options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.errors, page.foreign = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else page.foreign.append(r.url))
    page.goto(address)
    page.get_by_role("tab", name="Convert", exact=True).click()
    page.get_by_text("Or an architecture by name").wait_for()
    return page


@pytest.fixture
def page(browser, both: str) -> Iterator:  # type: ignore[no-untyped-def]
    page = visit(browser, both, viewport={"width": 1280, "height": 950})
    yield page
    page.context.close()


def name(page, text: str) -> None:  # type: ignore[no-untyped-def]
    box = page.get_by_label("Or an architecture by name")
    box.click()
    box.fill(text)
    box.press("Enter")


def upload(page, *paths: Path) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("tabpanel").filter(visible=True).locator("input[type=file]").first.set_input_files(
        [str(p) for p in paths]
    )


def become(page, target: str) -> None:  # type: ignore[no-untyped-def]
    page.locator("#convert-targets").get_by_text(re.compile(rf"^{re.escape(target)} · ")).click()


def chosen(page) -> list[str]:  # type: ignore[no-untyped-def]
    return page.locator("#convert-targets input:checked").evaluate_all("found => found.map(one => one.value)")


def samples(page, path: Path) -> None:  # type: ignore[no-untyped-def]
    box = page.locator("#convert-samples-file input[type=file]")
    if not box.count():
        page.locator("#convert-samples").get_by_text("Samples of real inputs").click()
    box.set_input_files(str(path))
    page.locator("#convert-preview .mw-samples").wait_for()


def deaf(folder: Path) -> Path:
    """It has weights to quantise, and its output does not depend on its input: nothing made of it can be proven."""
    rng = np.random.default_rng(0)
    values = {"zero": np.zeros(1, np.float32), "w": rng.normal(size=(64, 10)), "b": rng.normal(size=10)}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "zero"], ["none"]),
            helper.make_node("MatMul", ["none", "w"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["y"]),
        ],
        "deaf",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()],
    )
    path = folder / "deaf.onnx"
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)
    np.savez(folder / "real.npz", x=rng.normal(size=(12, 64)).astype(np.float32), labels=np.arange(12) % 3)
    return path


def start(page) -> None:  # type: ignore[no-untyped-def]
    page.get_by_role("button", name="Convert", exact=True).click()


def verdict(page) -> str:  # type: ignore[no-untyped-def]
    page.locator("#convert-verdict .mw-word").wait_for(timeout=SLOW)
    return page.locator("#convert-verdict .mw-word").inner_text()


def take(page, button: str) -> tuple[Path, str]:  # type: ignore[no-untyped-def]
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return Path(download.value.path()), download.value.suggested_filename


def test_an_architecture_to_onnx_and_into_the_inspector(page) -> None:  # type: ignore[no-untyped-def]
    name(page, "mobilenet_v3_small")  # one source only is called so
    page.locator("#convert-about").get_by_text("PyTorch architecture").wait_for(timeout=SLOW)
    assert chosen(page) == ["onnx"]
    assert "3 × 224 × 224" in page.locator("#convert-about").inner_text()
    become(page, "ONNX")
    start(page)
    assert "proven" in verdict(page) and "random weights" in verdict(page)
    assert "random weights" in page.locator("#convert-about").inner_text()
    assert page.locator("#convert-errors .mw-error-bar.absolute i").count() == 1
    path, called = take(page, "Download the model")
    assert called == "mobilenet_v3_small-random-weights.onnx" and onnx.load(path).graph.output[0].name
    page.get_by_role("button", name="Open in Inspect").click()
    page.locator("#onnx-summary .mw-facts").wait_for()
    assert page.get_by_role("tab", name="Inspect").get_attribute("aria-selected") == "true"
    assert "2.54 M" in page.locator("#onnx-summary").inner_text()
    assert page.errors == [] and page.foreign == []


def test_an_example_is_one_click(page) -> None:  # type: ignore[no-untyped-def]
    page.locator("#convert-examples").get_by_text("JAX attention").click()
    page.locator("#convert-about").get_by_text("jax:attention", exact=True).wait_for(timeout=SLOW)
    assert page.get_by_label("Or an architecture by name").input_value() == "jax:attention"


@pytest.mark.slow
def test_enter_in_the_empty_box_chooses_nothing(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    name(page, "")
    page.wait_for_timeout(1500)
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    assert page.locator(".mw-error:visible").count() == 0


@pytest.mark.slow
def test_an_upload_to_float16(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    become(page, "ONNX, float16")
    page.get_by_label("Keep float32 inputs and outputs").wait_for()
    start(page)
    assert "proven" in verdict(page)
    page.get_by_role("tab", name="Size and speed").click()
    assert "% smaller" in page.locator("#convert-sizes").inner_text()
    path, called = take(page, "Download with report")
    assert called == "digits-onnx-fp16-with-report.zip"
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("report.json"))["verdict"] == "proven"
        model = onnx.load_from_string(archive.read("digits-fp16.onnx"))
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT16}
    page.get_by_role("button", name="Open in Inspect").click()
    page.locator("#onnx-summary").get_by_text("float16").first.wait_for()
    # what is opened is the inspector's own copy: another conversion removes the converter's
    page.get_by_role("tab", name="Convert", exact=True).click()
    start(page)
    page.locator("#convert-verdict .mw-bar").wait_for()
    assert "proven" in verdict(page)
    page.get_by_role("tab", name="Inspect").click()
    page.get_by_role("tab", name="Run", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("agree", exact=True).wait_for()
    assert page.errors == []


@pytest.mark.slow
def test_samples_to_int8_a_remedy_and_the_file_anyway(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, deaf(tmp_path))
    page.locator("#convert-about").get_by_text("deaf.onnx").wait_for()
    become(page, "ONNX, int8 (static, calibrated)")
    page.locator("#convert-way .mw-invite").wait_for()
    page.locator("#convert-samples-file input[type=file]").wait_for(state="attached")  # int8 opens the box for them
    samples(page, tmp_path / "real.npz")
    assert "12 samples · 3 classes, 4 each" in page.locator("#convert-preview").inner_text()
    page.locator("#convert-way .mw-invite").wait_for(state="detached")
    start(page)
    word = verdict(page)
    assert "unproven" in word or "failed" in word
    said = page.locator("#convert-verdict").inner_text()
    assert "withheld" in said and "Faithful?" in said and "Good enough?" in said and "real.npz" in said
    assert page.get_by_role("button", name="Download the model").count() == 0
    report = page.evaluate("document.querySelector('#convert-verdict').getBoundingClientRect()")
    assert report["top"] < 950 and report["bottom"] > 0  # in view without scrolling by hand
    # no second conversion
    path, called = take(page, "Download anyway")
    assert called == "deaf-int8-static.unproven.onnx"
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}
    # a remedy is one click: it chooses the target and converts, with the same samples
    page.locator("#convert-remedies button").filter(has_text="Use float16").click()
    page.locator("#convert-verdict .mw-proof").get_by_text("ONNX → ONNX, float16").wait_for(timeout=SLOW)
    assert chosen(page) == ["onnx-fp16"]
    assert "12 of 12 samples in real.npz to judge" in page.locator("#convert-verdict").inner_text()
    assert take(page, "Download anyway")[1] == "deaf-fp16.unproven.onnx"
    assert page.errors == []


def test_pictures_are_shown_as_the_model_sees_them(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    samples(page, pictures(tmp_path / "photos.zip"))
    preview = page.locator("#convert-preview")
    assert "8 pictures · 2 classes, 4 each" in preview.inner_text() and "28 x 28 pixels, L, 0..1" in preview.inner_text()
    assert preview.locator("img").count() == 8
    assert preview.locator("img").first.evaluate("one => one.complete && one.naturalWidth") == 96
    box = page.get_by_label("Normalization")  # the guess, which can be changed
    box.click()
    page.get_by_role("option", name="-1..1").click()
    preview.get_by_text("28 x 28 pixels, L, -1..1").wait_for()
    page.locator("#convert-samples-file").get_by_role("button", name="Clear").click()
    preview.locator("img").first.wait_for(state="detached")
    page.locator("#convert-samples-file input[type=file]").set_input_files(str(tmp_path / "digits.onnx"))
    preview.get_by_text("is not a readable file of samples").wait_for()


@pytest.mark.slow
def test_several_targets_in_one_table(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    assert chosen(page) == ["onnx-fp16"]  # not the same opset once more
    page.get_by_text("Compare several targets").click()
    page.locator("#convert-also").get_by_text("ONNX, slimmed", exact=True).click()
    start(page)
    table = page.locator("#convert-several")
    table.locator("table").wait_for(timeout=SLOW)
    assert table.get_by_text("proven", exact=True).count() == 2
    with page.expect_download() as download:
        table.get_by_role("link", name="Download").nth(1).click()
    assert download.value.suggested_filename == "digits-slim.onnx"
    table.get_by_role("button", name="Show").click()
    page.locator("#convert-verdict").get_by_text("ONNX → ONNX, slimmed").wait_for()
    assert take(page, "Download the model")[1] == "digits-slim.onnx" and chosen(page) == ["onnx-slim"]


@pytest.mark.slow
def test_a_verdict_of_another_target_is_dimmed(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    start(page)
    assert "proven" in verdict(page)
    become(page, "ONNX, slimmed")
    page.locator("#convert-verdict .mw-stale").get_by_text("For the previous target.").wait_for()
    assert page.get_by_role("button", name="Download the model").count() == 0
    become(page, "ONNX, float16")
    page.locator("#convert-verdict .mw-stale").wait_for(state="detached")
    page.get_by_role("button", name="Download the model").wait_for()
    page.reload()
    assert "proven" in verdict(page)


def test_missing_data_are_named_and_adding_them_completes_the_model(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    onnx.save(EXAMPLES["digits"](), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    upload(page, tmp_path / "m.onnx")
    page.locator("#convert-about").get_by_text("also upload 'm.data' (6 weights live there)").wait_for()
    upload(page, tmp_path / "m.data")
    page.locator("#convert-about").get_by_text("batch × 1 × 28 × 28").wait_for()
    page.get_by_role("tabpanel").filter(visible=True).get_by_role("button", name="Clear").first.click()
    page.locator("#convert-about").get_by_text("Drop a model").wait_for()


def test_rubbish_says_why_and_the_page_goes_on(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x80\x04\x95" + bytes(100))
    upload(page, bad)
    page.locator("#convert-about").get_by_text("not opened").wait_for()
    assert page.get_by_role("button", name="Convert", exact=True).count() == 0
    name(page, "torchvision:no_such_model")
    page.locator("#convert-about").get_by_text("no_such_model").wait_for()
    page.get_by_text("bad.onnx").wait_for(state="detached")  # a whole model does not go into an architecture
    page.reload()
    page.get_by_role("tab", name="Convert", exact=True).click()
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    start(page)
    assert "proven" in verdict(page)
    name(page, "torchvision:no_such_model")  # what is open stays, with its result
    page.locator("#convert-about").get_by_text("is still the open model").wait_for()
    assert "proven" in verdict(page) and page.get_by_role("button", name="Download the model").is_visible()


@pytest.mark.slow
def test_a_reload_in_the_middle_says_that_it_ended_the_conversion(page) -> None:  # type: ignore[no-untyped-def]
    name(page, "torchvision:mobilenet_v3_small")
    page.locator("#convert-about").get_by_text("PyTorch architecture").wait_for(timeout=SLOW)
    become(page, "ONNX")
    start(page)
    page.locator("#convert-verdict .mw-elapsed").wait_for(timeout=SLOW)
    page.reload()
    page.locator("#convert-verdict").get_by_text("A conversion to ONNX was running").wait_for()
    start(page)
    page.locator("#convert-verdict .mw-elapsed").wait_for(timeout=SLOW)
    page.get_by_role("button", name="Stop", exact=True).filter(visible=True).click()
    page.locator("#convert-verdict").get_by_text("Stopped.").wait_for()
    page.reload()  # whoever stops it knows
    page.locator("#convert-about").get_by_text("PyTorch architecture").wait_for()
    assert page.locator("#convert-verdict").inner_text() == ""


def test_samples_among_the_model_s_files_are_not_ignored(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    deaf(tmp_path)
    upload(page, tmp_path / "deaf.onnx", tmp_path / "real.npz")
    page.locator("#convert-about").get_by_text("'real.npz' is not part of this model").wait_for()


def test_stop(page, both: str) -> None:  # type: ignore[no-untyped-def]
    name(page, "torchvision:mobilenet_v3_small")
    page.locator("#convert-about").get_by_text("PyTorch architecture").wait_for(timeout=SLOW)
    become(page, "ONNX")
    start(page)
    page.locator("#convert-verdict").get_by_text("Step 1 of 1").wait_for(timeout=SLOW)
    page.get_by_role("tabpanel").filter(visible=True).get_by_role("button", name="Stop").click()
    page.locator("#convert-verdict").get_by_text("Stopped.").wait_for()
    assert idle(both)


@pytest.mark.slow
def test_weights_alone_tell_their_architecture(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    network = torchvision.models.mobilenet_v3_small(num_classes=5)
    torch.save(network.state_dict(), tmp_path / "trained.pth")
    upload(page, tmp_path / "trained.pth")
    card = page.locator("#convert-about")
    card.get_by_text("They fit torchvision:mobilenet_v3_small").wait_for()
    card.get_by_role("button", name="Use it").click()
    card.get_by_text("batch × 5").wait_for(timeout=SLOW)
    assert chosen(page) == ["onnx"] and "random" not in card.inner_text()
    assert page.get_by_label("Or an architecture by name").input_value() == "torchvision:mobilenet_v3_small"


@pytest.mark.slow
def test_names_from_a_model_stay_text(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    evil = '<img src=x onerror="window.evil=1">'
    model = EXAMPLES["digits"]()
    model.graph.input[0].name = model.graph.node[0].input[0] = evil + "in"
    model.graph.output[0].name = model.graph.node[-1].output[0] = evil + "out"
    path = tmp_path / "evil.onnx"
    path.write_bytes(model.SerializeToString())
    upload(page, path)
    page.locator("#convert-about").get_by_text("evil.onnx").wait_for()
    become(page, "ONNX, float16")
    start(page)
    verdict(page)
    for tab in ("Steps", "Size and speed", "Messages", "Report", "Errors"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(200)
    assert evil in page.locator("#convert-errors").inner_text()
    assert page.evaluate("window.evil") is None and page.locator("img[src=x]").count() == 0


def test_everything_this_installation_can_convert(page) -> None:  # type: ignore[no-untyped-def]
    page.get_by_text("Everything this installation can convert").click()
    page.locator("#convert-table").get_by_text("ONNX, float16").first.wait_for()


def test_a_phone_sees_it_all(browser, both: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page = visit(browser, f"{both}?__theme=dark", viewport={"width": 390, "height": 844}, is_mobile=True)
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    become(page, "ONNX, float16")
    start(page)
    assert "proven" in verdict(page)
    page.get_by_text("Everything this installation can convert").click()
    page.locator("#convert-table").get_by_text("ONNX, float16").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


SECRET = "a client's secret"


@pytest.fixture
def space(settings: Settings, tmp_path: Path) -> Iterator:  # type: ignore[no-untyped-def]
    """The converter as on a Space with OAuth, in front of a Hub on loopback: its address and that Hub."""
    pytest.importorskip("authlib", reason="gradio's sign-in needs authlib and itsdangerous")
    from gradio import oauth
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch, fake_hub.serve() as hub:
        patch.setattr(oauth, "get_space", lambda: "ada/space")
        for name, value in (("CLIENT_ID", "an id"), ("CLIENT_SECRET", SECRET), ("SCOPES", "openid profile")):
            patch.setattr(oauth, f"OAUTH_{name}", value)
        patch.setattr(oauth, "OPENID_PROVIDER_URL", hub.address)
        patch.setattr(constants, "ENDPOINT", hub.address)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        own = replace(settings, data_folder=tmp_path / "data")
        for workbench in serve(own, patch, tmp_path / "gradio", ("convert",)):
            yield workbench.address, hub


def signed_in() -> str:
    """The session cookie that gradio sets when the Hub sends a visitor back."""
    from itsdangerous import TimestampSigner

    user = {"name": "Ada", "preferred_username": fake_hub.USER, "profile": "", "picture": ""}
    info = {"access_token": fake_hub.TOKEN, "scope": "", "expires_at": int(time.time()) + 3600, "userinfo": user}
    key = hashlib.sha256(f"{SECRET}-v4".encode()).hexdigest()
    return TimestampSigner(key).sign(base64.b64encode(json.dumps({"oauth_info": info}).encode())).decode()


@pytest.mark.slow
def test_push_to_the_hub(browser, space, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    address, hub = space
    context = browser.new_context(viewport={"width": 1280, "height": 950})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    for visitor in ("a stranger", "ada"):
        if visitor == "ada":  # who signs in leaves the page and comes back: the result is still there
            context.add_cookies([{"name": "session", "value": signed_in(), "url": address, "secure": True}])
            page.reload()
        else:
            page.locator("input[type=file]").first.wait_for(state="attached")
            page.locator("input[type=file]").first.set_input_files(str(save(tmp_path)))
            page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
            become(page, "ONNX, slimmed")
            start(page)
        assert "proven" in verdict(page)
        page.get_by_text("Push to the Hub", exact=True).click()
        page.get_by_label("Repository", exact=True).fill("ada/digits")
        page.get_by_role("button", name="Push", exact=True).click()
        words = "You are not signed in" if visitor != "ada" else f"{hub.address}/ada/digits"
        page.locator("#convert-pushed").get_by_text(words).wait_for()
        assert bool(hub.repositories) == (visitor == "ada")
    assert page.get_by_role("button", name="Logout (ada)").is_visible()
    assert set(hub.repositories["ada/digits"].files) == {"digits-slim.onnx", "report.json", "README.md"}
    assert fake_hub.TOKEN not in page.content()
    context.close()
