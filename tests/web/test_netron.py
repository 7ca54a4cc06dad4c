"""Netron under our own address, and the temporary files it fetches: over HTTP as sent, and in a browser."""

from __future__ import annotations

import html
import http.client
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import onnx.parser
import pytest

from web import netron
from web.temporary_files import GRACE_SECONDS, PREFIX, TemporaryFiles

HOUR = 3600
MODEL = """<ir_version: 9, opset_import: ["" : 17]>
tiny (float[1,3,8,8] x) => (float[1,2,8,8] y) <float[2,3,1,1] w = {0, 0, 0, 0, 0, 0}> {
  c = Conv (x, w)
  y = Relu (c)
}"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


@pytest.fixture
def temporary_files(tmp_path: Path) -> TemporaryFiles:
    return TemporaryFiles(tmp_path / "files", hours=1)


@pytest.fixture(scope="module")
def site(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A page with text above a frame, as Gradio serves it with our routes."""
    temporary_files = TemporaryFiles(tmp_path_factory.mktemp("site") / "files", hours=1)
    file = temporary_files.put(model)
    source = html.escape(netron.address(file, "my modèl & co"))
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Textbox(label="Words")
        gr.HTML('<div style="height: 1500px"></div>')
        gr.HTML(f'<iframe class="{netron.FRAME}" title="Graph" src="{source}" style="width: 100%; height: 600px"></iframe>')
    routes = [*netron.routes(), *temporary_files.routes()]
    _, address, _ = demo.launch(
        server_name="127.0.0.1",
        prevent_thread_lock=True,
        app_kwargs={"routes": routes},
        ssr_mode=False,
        quiet=True,
        css=netron.CSS,
    )
    yield SimpleNamespace(address=address, temporary_files=temporary_files, file=file)
    demo.close(verbose=False)


def get(site: SimpleNamespace, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """``path`` goes out as it is: a client that tidies it would hide what is tested."""
    connection = http.client.HTTPConnection(site.address.removeprefix("http://").rstrip("/"), timeout=30)
    try:
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_the_start_page_is_of_today_and_reports_to_nobody(site: SimpleNamespace) -> None:
    answer, body = get(site, "/netron/")
    page = body.decode()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]
    # a Space shows our page in a frame of another site; either header would count that site too
    assert "frame-ancestors" not in answer.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in answer.headers
    assert re.findall(r'name="version" content="(.*?)"', page) == ["0.0.0"]
    (date,) = re.findall(r'name="date" content="(.*?) 00:00:00"', page)
    today = datetime.now(UTC).date()
    assert date in {str(today), str(today - timedelta(days=1))}  # midnight may have passed
    assert re.findall(r'<script[^>]*src="(.*?)"', page) == [netron.FIRST_SCRIPT, "index.js"]


def test_the_date_is_that_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    index = netron.routes()[0].endpoint
    later = SimpleNamespace(now=lambda zone: datetime(2031, 5, 6, tzinfo=zone))
    monkeypatch.setattr(netron, "datetime", later)
    assert b'name="date" content="2031-05-06 00:00:00"' in index().body


@pytest.mark.parametrize("page", ["", '<meta name="version" content="1"><script src="index.js">'])
def test_another_start_page_is_refused_before_anything_is_served(page: str) -> None:
    with pytest.raises(RuntimeError, match=r"Netron's index\.html has 0 places"):
        netron._halves(page)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("view.js", "text/javascript; charset=utf-8"),
        ("grapher.css", "text/css; charset=utf-8"),
        ("onnx-metadata.json", "application/json"),
        ("icon.png", "image/png"),
        (netron.FIRST_SCRIPT, "text/javascript; charset=utf-8"),
    ],
)
def test_static_files(site: SimpleNamespace, name: str, kind: str) -> None:
    answer, body = get(site, f"/netron/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert body
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_a_browser_has_is_not_sent_again(site: SimpleNamespace) -> None:
    first, _ = get(site, "/netron/view.js")
    again, body = get(site, "/netron/view.js", If_None_Match=first.headers["ETag"])
    assert (again.status, body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize(
    "path",
    [
        "/netron/server.py",
        "/netron/__init__.py",
        "/netron/__pycache__",
        "/netron/../netron/server.py",
        "/netron/../../../../../../../../etc/passwd",
        "/netron/%2e%2e/netron/server.py",
        "/netron/%2e%2e%2fnetron%2fserver.py",
        "/netron/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/netron/..%5cnetron%5cserver.py",
        "/netron//etc/passwd",
        "/netron/%2fetc%2fpasswd",
        "/netron/./server.py",
        "/netron/server.py%00.js",
        "/netron/nothing.js",
        "/netron/.",
        "/netron/..",
        "/onnx-files/",
        "/onnx-files/..%2f..%2fetc%2fpasswd",
        "/onnx-files/%2e%2e",
    ],
)
def test_nothing_else_is_served(site: SimpleNamespace, path: str) -> None:
    answer, body = get(site, path)
    assert answer.status == 404, body[:200]
    assert b"import " not in body
    assert b"root:" not in body


def test_the_address_of_a_frame() -> None:
    assert netron.address("/onnx-files/a-_.onnx", "a&b=ü.ONNX") == (
        "/netron/?url=%2Fonnx-files%2Fa-_.onnx&identifier=a%26b%3D%C3%BC.ONNX"
    )
    assert netron.address("/x.onnx", "net").endswith("identifier=net.onnx")


def test_a_temporary_file_is_fetched_and_never_shown(site: SimpleNamespace, model: Path) -> None:
    answer, body = get(site, f"{site.file}?cb=1")
    assert answer.status == 200
    assert body == model.read_bytes()
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="model.onnx"'


def test_an_unknown_file_is_answered_in_words(site: SimpleNamespace) -> None:
    answer, body = get(site, f"{PREFIX}/{'a' * 32}.onnx")
    assert answer.status == 404
    assert json.loads(body) == {"error": "The file does not exist or has expired. Please open the model again."}
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_what_is_put_is_a_copy_with_a_name_and_a_time_of_its_own(
    temporary_files: TemporaryFiles, model: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.onnx"
    shutil.copyfile(model, old)
    os.utime(old, (0, 0))
    addresses = [temporary_files.put(old), temporary_files.put(old), temporary_files.put(old, ".json")]
    assert [bool(re.fullmatch(r"/onnx-files/[\w-]{32}\.(onnx|json)", a)) for a in addresses] == [True] * 3
    assert len(set(addresses)) == 3
    assert old.exists()
    for address in addresses:
        path = temporary_files.path(address.removeprefix(f"{PREFIX}/"))
        assert path is not None
        assert path.read_bytes() == model.read_bytes()


def test_a_failed_put_leaves_nothing(temporary_files: TemporaryFiles, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        temporary_files.put(tmp_path / "gone.onnx")
    assert list(temporary_files.folder.iterdir()) == []


def test_a_file_expires_and_is_swept(temporary_files: TemporaryFiles, model: Path) -> None:
    old, young = (temporary_files.put(model).removeprefix(f"{PREFIX}/") for _ in range(2))
    path = temporary_files.folder / old
    now = time.time()
    os.utime(path, (now, now - HOUR - GRACE_SECONDS / 2))
    assert temporary_files.path(old) is None
    temporary_files.sweep()
    assert path.exists()  # an answer may be on its way
    os.utime(path, (now, now - HOUR - 2 * GRACE_SECONDS))
    other = temporary_files.folder / "notes.txt"
    other.write_text("not a temporary file")
    os.utime(other, (0, 0))
    crashed = temporary_files.folder / f"{'a' * 32}.onnx.part"
    crashed.write_bytes(b"half")
    os.utime(crashed, (0, 0))
    temporary_files.sweep()
    assert {p.name for p in temporary_files.folder.iterdir()} == {young, "notes.txt"}
    temporary_files.clear()
    assert {p.name for p in temporary_files.folder.iterdir()} == {"notes.txt"}


def test_an_empty_folder_has_nothing_to_remove(temporary_files: TemporaryFiles) -> None:
    temporary_files.sweep()
    temporary_files.clear()
    assert not temporary_files.folder.exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "tiny.onnx",
        f"{'a' * 32}",
        f"{'a' * 31}.onnx",
        f"{'a' * 33}.onnx",
        f"{'a' * 32}.onnx\n",
        f"{'a' * 32}.onnx.part",
        f"{'a' * 32}.ONNX",
        f"../{'a' * 29}.onnx",
        f"{'ä' * 32}.onnx",
        f"{'a' * 31}\0.onnx",
    ],
)
def test_malformed_names(temporary_files: TemporaryFiles, model: Path, name: str) -> None:
    temporary_files.put(model)
    if name and "\0" not in name and "/" not in name:
        (temporary_files.folder / name).write_bytes(b"there, but not by put()")
    assert temporary_files.path(name) is None


def test_only_plain_files(temporary_files: TemporaryFiles, model: Path) -> None:
    temporary_files.put(model)
    link, folder = f"{'l' * 32}.onnx", f"{'f' * 32}.onnx"
    (temporary_files.folder / link).symlink_to(model)
    (temporary_files.folder / folder).mkdir()
    assert temporary_files.path(link) is None
    assert temporary_files.path(folder) is None


def test_many_threads(temporary_files: TemporaryFiles, model: Path) -> None:
    names: list[str] = []

    def work() -> None:
        for _ in range(20):
            names.append(temporary_files.put(model).removeprefix(f"{PREFIX}/"))
            temporary_files.sweep()
            assert temporary_files.path(names[-1])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({n for n in names if temporary_files.path(n)}) == 80


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(64, 64, 64)")])
def test_a_graph_is_shown_in_a_frame(site: SimpleNamespace, browser, tmp_path: Path, theme: str, background: str) -> None:
    from playwright.sync_api import expect

    # Emulating a colour scheme, Playwright's default, would go over what the frame's element says.
    context = browser.new_context(color_scheme="null", viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site.address}?__theme={theme}")
    page.get_by_label("Words").focus()

    graph = page.frame_locator(f"iframe.{netron.FRAME}")
    graph.locator("body.default").wait_for()  # not welcome, alert or notification: no dialog is in the way
    expect(graph.locator("body")).to_have_css("background-color", background)
    # it was loaded below the fold, and neither moved the page nor took the keyboard
    expect(page.get_by_label("Words")).to_be_focused()
    assert page.evaluate("window.scrollY") == 0

    page.locator(f"iframe.{netron.FRAME}").scroll_into_view_if_needed()
    expect(graph.get_by_text("Relu", exact=True)).to_be_visible()
    page.screenshot(path=tmp_path / f"{theme}.png")
    graph.get_by_text("Conv", exact=True).click()
    expect(graph.get_by_text("Node Properties")).to_be_visible()

    assert any(f"{site.file}?cb=" in url for url in requests)
    assert [url for url in requests if not url.startswith((site.address, "data:", "blob:"))] == []
    # under their own name a browser keeps Netron's tables
    assert f"{site.address}netron/onnx-metadata.json" in requests
    assert errors == []
    assert context.cookies() == []
    context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_frame_in_an_inactive_tab_waits_until_it_is_displayed(site: SimpleNamespace, browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(site.address)
    tab = '<div id="tab" style="display: none"><iframe src="{}" width="800" height="600"></iframe></div>'
    source = html.escape(netron.address(site.file, "net"))
    page.locator("body").evaluate("(body, tab) => body.innerHTML = tab", tab.format(source))
    graph = page.frame_locator("iframe")
    graph.locator("#open-file-button").wait_for(state="attached")
    page.wait_for_timeout(3000)  # by then it would be shown, collapsed
    assert graph.locator("body").get_attribute("class") == "welcome spinner"
    page.locator("#tab").evaluate("tab => tab.style.display = 'block'")
    graph.locator("body.default").wait_for()
    box = graph.locator(".node-item-type", has_text="Conv").bounding_box()
    assert box is not None
    assert box["height"] > 15
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("asked", ["url=https://netron.invalid/a.onnx", "gist=0123456789abcdef"])
def test_an_address_of_another_host_is_not_fetched(site: SimpleNamespace, browser, asked: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"{site.address}netron/?{asked}")
    page.locator("body.alert").get_by_text("The web request failed.").wait_for()
    assert any("Content Security Policy" in text and "connect-src" in text for text in refused)
    context.close()
