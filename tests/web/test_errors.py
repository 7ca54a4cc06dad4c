"""One shape of error: also where no endpoint answers, where FastAPI refuses, and where the app breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from web import addresses
from web.errors import handlers
from web.request_middleware import RequestMiddleware, Traffic


async def number(n: int) -> dict[str, int]:
    if n == 13:
        raise RuntimeError("zebra")
    if n == 14:
        raise HTTPException(409, "Somebody else has it.", {"X-Who": "ada"})
    return {"n": n}


OURS = [
    APIRoute("/numbers/{n}", number, methods=["GET"]),
    APIRoute("/numbers/{n}", number, methods=["PUT"]),
    APIRoute("/only-posted", number, methods=["POST"]),
    *addresses.routes("tab", [APIRoute("/only-posted", number, methods=["POST"])]),
]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    traffic = Traffic(OURS)
    app = FastAPI(routes=traffic.routes, exception_handlers=handlers(traffic.routes))
    app.add_api_route("/gradio_api/numbers/{n}", number)
    app.add_middleware(RequestMiddleware, traffic=traffic)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, "There is nothing at '/nothing'. GET /docs lists the routes."),
        ("DELETE", "/numbers/3", 405, "/numbers/3 does not accept DELETE. Use GET, PUT."),
        ("GET", "/numbers/three", 422, "n was 'three'; allowed: "),
        ("GET", "/numbers/13", 500, "Something went wrong inside the app"),
        ("GET", "/numbers/14", 409, "Somebody else has it."),
    ],
)
def test_every_error_is_one_sentence(client: TestClient, method: str, path: str, status: int, words: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status and answer.json().keys() == {"error"}
    assert answer.json()["error"].startswith(words) and "zebra" not in answer.text
    assert answer.headers.get("allow") == ("GET, PUT" if status == 405 else None)
    assert answer.headers.get("x-who") == ("ada" if status == 409 else None)


@pytest.mark.parametrize(("path", "status"), [("/gradio_api/nothing", 404), ("/gradio_api/numbers/three", 422)])
def test_gradio_keeps_its_own(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status and answer.json().keys() == {"detail"}


def test_a_long_address_is_cut(client: TestClient) -> None:
    assert len(client.get("/" + "x" * 5000).json()["error"]) < 200


def test_who_only_says_post_is_not_allowed_itself(client: TestClient) -> None:
    """GET leads a browser to the page, and is a 405 to everybody else."""
    for method in ("TRACE", "DELETE", "GET"):
        answer = client.request(method, "/only-posted", headers={"Accept": "*/*"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST"), method
