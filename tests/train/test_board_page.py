"""TensorBoard behind tokens: over HTTP what each method and token gets, in a browser what a visitor sees."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lib.train.board import Boards
from lib.train.trackers import open_trackers
from tests.e2e.conftest import CHROMIUM, browser  # noqa: F401
from tests.train.test_board import write_run

SOURCE = Path(__file__).parents[2] / "spaces" / "train" / "board_routes.py"


def board_routes() -> Any:
    """By path, as the tab is loaded: PyPI's package ``spaces`` has that name."""
    spec = importlib.util.spec_from_file_location("board_routes_alone", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("visitors")
    owned = {"token-of-ada": home / "ada" / "runs", "token-of-bob": home / "bob" / "runs", "new": home / "new" / "runs"}
    for name in ("conv-3-epochs", "conv-9-epochs"):
        write_run(owned["token-of-ada"] / name, 9)
    write_run(owned["token-of-bob"] / "secret-of-bob")
    return owned


@pytest.fixture(scope="module")
def client(folders: dict[str, Path]) -> TestClient:
    return TestClient(FastAPI(routes=board_routes().routes(folders.get, Boards())), raise_server_exceptions=False)


# Over HTTP


def test_a_token_shows_the_runs_of_its_folder_and_no_others(client: TestClient) -> None:
    assert client.get("/tensorboard/token-of-ada/data/runs").json() == ["conv-3-epochs", "conv-9-epochs"]
    assert client.get("/tensorboard/token-of-bob/data/runs").json() == ["secret-of-bob"]
    assert client.get("/tensorboard/new/data/runs").json() == []
    for path in (
        *("data/plugin/scalars/scalars?run=secret-of-bob&tag=loss", "data/plugin/projector/info?run=secret-of-bob"),
        *(
            "data/plugin/projector/info?run=../../bob/runs/secret-of-bob",
            "../token-of-bob/nothing",
            "..%2Ftoken-of-bob/data/x",
        ),
    ):
        response = client.get(f"/tensorboard/token-of-ada/{path}")
        assert response.status_code in (400, 404) and "bob" not in response.text, path


@pytest.mark.parametrize("path", ["nobody/", "nobody/data/runs", "token-of/data/runs", "/data/runs", "..%2Fx/data/runs"])
def test_an_unknown_token_is_not_found(client: TestClient, path: str) -> None:
    response = client.get(f"/tensorboard/{path}", follow_redirects=False)
    assert response.status_code == 404
    if path[0] not in "/.":
        assert response.json() == {"error": "There are no runs here. Open the Train tab again."}
        assert response.headers["cache-control"] == "no-store"
        assert client.head(f"/tensorboard/{path}").content == b""


def test_the_address_without_a_slash_leads_to_the_one_with(client: TestClient) -> None:
    response = client.get("/tensorboard/token-of-ada", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "token-of-ada/")
    assert client.get("/tensorboard/token-of-ada").text.startswith("<!doctype html>")


def test_only_reading_is_allowed(client: TestClient) -> None:
    page, series = "/tensorboard/token-of-ada/", "/tensorboard/token-of-ada/data/plugin/timeseries/timeSeries"
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, page).status_code == client.request(method, series).status_code == 405
    response = client.post(page)
    assert response.status_code == 405 and response.headers["allow"] == "GET, HEAD"
    assert response.json() == {"error": "Allowed here: GET, HEAD."}
    assert client.post("/tensorboard/token-of-ada/data/runs").status_code == 405
    assert client.head(page).content == b"" and client.head(page).status_code == 200
    requests = json.dumps([{"plugin": "scalars", "tag": "loss"}])
    assert set(client.post(series, data={"requests": requests}).json()[0]["runToSeries"]) == {
        "conv-3-epochs",
        "conv-9-epochs",
    }
    assert client.post(series, content=b"x" * 1_000_001).status_code == 413
    assert client.post(series, content=iter([b"x" * 900_000] * 2)).status_code == 413


def test_headers_keep_the_page_to_this_host_and_out_of_caches(client: TestClient) -> None:
    for path in ("", "data/runs", "data/environment", "index.js", "data/nothing", "data/plugin_entry.html?name=projector"):
        response = client.get(f"/tensorboard/token-of-ada/{path}")
        assert response.headers["cache-control"] == "no-store" and "expires" not in response.headers
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["x-content-type-options"] == "nosniff"
        policies = response.headers.get_list("content-security-policy")
        assert "connect-src 'self';" in policies[-1] and "http" not in policies[-1]
    script = client.get("/tensorboard/token-of-ada/index.js?_file_hash=528dec0c")
    assert script.headers["cache-control"] == "private, max-age=86400"


def test_a_query_that_is_no_ascii_is_no_server_error(folders: dict[str, Path]) -> None:
    app = FastAPI(routes=board_routes().routes(folders.get, Boards()))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path = "/tensorboard/token-of-ada/data/plugin/scalars/scalars"
    scope = {"type": "http", "method": "GET", "path": path, "query_string": "run=ü&tag=ü".encode(), "headers": []}
    scope |= {"http_version": "1.1", "scheme": "http", "server": ("test", 80), "root_path": ""}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 404


def test_a_mount_behind_a_prefix_works(folders: dict[str, Path]) -> None:
    outer = FastAPI()
    outer.mount("/behind", FastAPI(routes=board_routes().routes(folders.get, Boards())))
    client = TestClient(outer)
    assert client.get("/behind/tensorboard/new/data/runs").json() == []
    listing = client.get("/behind/tensorboard/new/data/plugins_listing").json()
    path = listing["projector"]["loading_mechanism"]["module_path"]
    assert path == "/behind/tensorboard/new/data/plugin/projector/index.js" and client.get(path).status_code == 200


def test_a_few_threads_work_and_no_visitor_has_them_all(folders: dict[str, Path]) -> None:
    now: dict[str, int] = {}
    most: dict[str, int] = {}
    names, lock = set(), threading.Lock()

    def find(token: str) -> Path | None:
        names.add(threading.current_thread().name)
        with lock:
            for key in (token, "all"):
                now[key] = now.get(key, 0) + 1
                most[key] = max(most.get(key, 0), now[key])
        time.sleep(0.1)
        with lock:
            now[token], now["all"] = now[token] - 1, now["all"] - 1
        return folders.get(token)

    routes = board_routes()
    with TestClient(FastAPI(routes=routes.routes(find, Boards()))) as client:
        paths = [f"/tensorboard/{token}/data/runs" for token in ("new", "other", "third") for _ in range(6)]
        threads = [threading.Thread(target=client.get, args=[path]) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most["new"] <= routes.EACH and 1 < most["all"] <= routes.WORKERS
    assert len(names) <= routes.WORKERS and all(name.startswith("WSGI") for name in names)


def test_making_the_routes_imports_no_tensorboard() -> None:
    import subprocess

    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); import board_routes; from lib.train.board import Boards;"
        "board_routes.routes(lambda token: None, Boards()); print({'torch', 'tensorboard', 'a2wsgi'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# In a browser


@pytest.fixture(scope="module")
def address(folders: dict[str, Path]) -> Iterator[str]:
    routes = board_routes()

    async def page(request: Any) -> HTMLResponse:
        frame = "<iframe style='width:1200px;height:800px;border:0' src='/tensorboard/token-of-ada/'></iframe>"
        return HTMLResponse(f"<!doctype html><title>x</title><script>{routes.AUTO_RELOAD_JS}</script>{frame}")

    app = FastAPI(routes=[Route("/", page), *routes.routes(folders.get, Boards(every=0.5))])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


class Watched:
    """A page, and everything it asked for."""

    def __init__(self, browser: Any, **options: Any) -> None:  # noqa: F811
        self.page = browser.new_page(viewport={"width": 1240, "height": 820}, **options)
        self.hosts: set[str] = set()
        self.failed: list[str] = []
        self.page.on("request", lambda r: self.hosts.add(r.url.split("/")[2] if r.url.startswith("http") else ""))
        self.page.on("requestfailed", lambda r: self.failed.append(f"{r.url} {r.failure}"))
        self.page.on("response", lambda r: self.failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        self.page.on("pageerror", lambda e: self.failed.append(str(e)))

    def check(self, address: str) -> None:
        assert self.hosts - {""} == {address.removeprefix("http://")}
        assert not self.failed


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:  # noqa: F811
    watched = Watched(browser)
    yield watched
    watched.page.close()


@pytest.mark.browser
def test_a_visitor_sees_the_curves_in_a_frame_of_our_page(address: str, watched: Watched, folders: dict[str, Path]) -> None:
    watched.page.goto(address)
    frame = watched.page.frame_locator("iframe")
    frame.get_by_text("conv-9-epochs").first.wait_for(timeout=30_000)
    frame.locator("scalar-card line-chart").first.wait_for(timeout=30_000)
    text = frame.locator("body").inner_text()
    assert "loss" in text and "secret-of-bob" not in text
    for path in (str(folders["token-of-ada"]), "visitors", tempfile.gettempdir()):
        assert path not in text and path not in watched.page.frames[1].content()
    settings = json.loads(watched.page.evaluate("localStorage.getItem('_tb_global_settings')"))
    assert settings["autoReload"] is True
    watched.page.wait_for_timeout(1000)
    watched.check(address)


TABS = {
    "scalars": "loss",
    "images": "mistakes",
    "graphs": "Sequential",
    "distributions": "weights",
    "histograms": "weights",
    "text": "recipe",
    "pr_curves": "pr",
    "hparams": "lite0",
}


@pytest.mark.slow
@pytest.mark.browser
def test_every_tab_loads_without_another_host(address: str, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{address}/tensorboard/token-of-ada/#timeseries")
    page.locator("scalar-card").first.wait_for(timeout=30_000)
    for tab, shows in TABS.items():
        with page.expect_request(lambda request, tab=tab: f"/data/plugin/{tab}/" in request.url, timeout=30_000):
            page.evaluate("tab => { location.hash = tab }", tab)
        page.get_by_text(shows).first.wait_for(timeout=30_000, state="attached")
        page.wait_for_timeout(500)
    watched.check(address)


@pytest.mark.browser
@pytest.mark.slow
def test_the_projector_loads_its_vectors(address: str, browser: Any) -> None:  # noqa: F811
    """It draws with WebGL only, which needs a browser with it."""
    options = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader"]
    drawing = browser.browser_type.launch(executable_path=CHROMIUM, args=[*options, "--enable-unsafe-swiftshader"])
    watched = Watched(drawing)
    watched.page.goto(f"{address}/tensorboard/token-of-ada/#projector")
    frame = watched.page.frame_locator("iframe").frame_locator("iframe")
    frame.get_by_text("Points: 5").first.wait_for(timeout=60_000)
    frame.get_by_text("2 runs found").first.wait_for(timeout=30_000)
    watched.page.wait_for_timeout(1000)
    watched.check(address)
    drawing.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_run_that_starts_appears_when_the_page_reloads_its_data(
    address: str, watched: Watched, folders: dict[str, Path]
) -> None:
    watched.page.goto(f"{address}/tensorboard/new/")
    watched.page.get_by_text("No dashboards are active").first.wait_for(timeout=30_000)
    tracker = open_trackers(["tensorboard"], folders["new"] / "brand-new", "brand-new")
    tracker.log({"loss": 1.0}, 1)
    tracker.log({"loss": 0.5}, 2)
    deadline = time.monotonic() + 30
    while not watched.page.get_by_text("brand-new").count():
        assert time.monotonic() < deadline
        watched.page.locator("app-header-reload button").click()
        watched.page.wait_for_timeout(1000)
    tracker.close()
    watched.check(address)
