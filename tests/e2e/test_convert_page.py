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

import onnx
import pytest

from lib.onnx_inspect.examples import EXAMPLES
from lib.settings import Settings
from tests.spaces import fake_hub
from tests.spaces.conftest import serve
from tests.spaces.test_convert_doors import constant, idle, save

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
    name(page, "torchvision:mobilenet_v3_small")
    page.locator("#convert-about").get_by_text("PyTorch architecture").wait_for(timeout=SLOW)
    assert "3 × 224 × 224" in page.locator("#convert-about").inner_text()
    become(page, "ONNX")
    start(page)
    assert "proven" in verdict(page)
    assert page.locator("#convert-errors .mw-error.absolute i").count() == 1
    path, called = take(page, "Download the model")
    assert called == "mobilenet_v3_small.onnx" and onnx.load(path).graph.output[0].name
    page.get_by_role("button", name="Open in the inspector").click()
    page.locator("#onnx-summary .mw-facts").wait_for()
    assert page.get_by_role("tab", name="Inspect ONNX").get_attribute("aria-selected") == "true"
    assert "2.54 M" in page.locator("#onnx-summary").inner_text()
    assert page.errors == [] and page.foreign == []


def test_an_example_is_one_click(page) -> None:  # type: ignore[no-untyped-def]
    page.locator("#convert-examples").get_by_text("JAX attention").click()
    page.locator("#convert-about").get_by_text("jax:attention", exact=True).wait_for(timeout=SLOW)
    assert page.get_by_label("Or an architecture by name").input_value() == "jax:attention"


def test_enter_in_the_empty_box_chooses_nothing(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    name(page, "")
    page.wait_for_timeout(1500)
    assert "digits.onnx" in page.locator("#convert-about").inner_text()


def test_an_upload_to_float16(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, save(tmp_path))
    page.locator("#convert-about").get_by_text("digits.onnx").wait_for()
    become(page, "ONNX, float16")
    page.get_by_label("Keep float32 inputs and outputs").wait_for()
    start(page)
    assert "proven" in verdict(page)
    page.get_by_role("tab", name="Size and speed").click()
    assert "×" in page.locator("#convert-sizes").inner_text()
    path, called = take(page, "Download with report")
    assert called == "digits-onnx-fp16-with-report.zip"
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("report.json"))["verdict"] == "proven"
        model = onnx.load_from_string(archive.read("model.onnx"))
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT16}
    page.get_by_role("button", name="Open in the inspector").click()
    page.locator("#onnx-summary").get_by_text("float16").first.wait_for()
    # what is opened is the inspector's own copy: another conversion removes the converter's
    page.get_by_role("tab", name="Convert", exact=True).click()
    start(page)
    page.locator("#convert-verdict .mw-bar").wait_for()
    assert "proven" in verdict(page)
    page.get_by_role("tab", name="Inspect ONNX").click()
    page.get_by_role("tab", name="Run", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#onnx-outcome").get_by_text("agree", exact=True).wait_for()
    assert page.errors == []


def test_what_is_not_proven_is_withheld_unless_wanted(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    upload(page, constant(tmp_path))
    page.locator("#convert-about").get_by_text("constant.onnx").wait_for()
    become(page, "ONNX, float16")
    start(page)
    assert "unproven" in verdict(page)
    assert "withheld" in page.locator("#convert-verdict").inner_text()
    assert page.get_by_role("button", name="Download the model").count() == 0
    page.get_by_text("The proof", exact=True).click()
    page.get_by_label("Give me the file anyway").check()
    start(page)
    page.get_by_role("button", name="Download the model").wait_for(timeout=SLOW)
    assert take(page, "Download the model")[1] == "constant-fp16.unproven.onnx"


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


def test_stop(page, both: str) -> None:  # type: ignore[no-untyped-def]
    name(page, "torchvision:mobilenet_v3_small")
    page.locator("#convert-about").get_by_text("PyTorch architecture").wait_for(timeout=SLOW)
    become(page, "ONNX")
    start(page)
    page.locator("#convert-verdict").get_by_text("Step 1 of 1").wait_for(timeout=SLOW)
    page.get_by_role("tabpanel").filter(visible=True).get_by_role("button", name="Stop").click()
    page.locator("#convert-verdict").get_by_text("Stopped.").wait_for()
    assert idle(both)


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
    assert set(hub.repositories["ada/digits"].files) == {"model.onnx", "report.json", "README.md"}
    assert fake_hub.TOKEN not in page.content()
    context.close()
