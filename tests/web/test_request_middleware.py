"""The middleware at the door: ids, counts, and what is owed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from lib import metrics
from lib.origin import current
from web import metrics as page
from web.request_middleware import RequestMiddleware, Traffic


async def hello(name: str) -> dict[str, object]:
    if name == "broken":
        raise RuntimeError("zebra")
    origin = current.get()
    return {"id": origin.id, "door": origin.door, "owed": TRAFFIC.under_way}


TRAFFIC = Traffic([APIRoute("/hello/{name}", hello), page.route("", lambda: {})])


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI(routes=TRAFFIC.routes)
    app.add_middleware(RequestMiddleware, traffic=TRAFFIC)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def counted(route: str, status: str) -> float:
    return metrics.HTTP.labels(route, "GET", status)._value.get()


def test_an_id_is_made_or_kept(client: TestClient) -> None:
    made = client.get("/hello/you")
    assert made.headers["x-request-id"] == made.json()["id"] and len(made.json()["id"]) == 16
    assert made.json()["door"] == "rest"
    kept = client.get("/hello/you", headers={"X-Request-Id": "a-1.b:2"})
    assert kept.headers["x-request-id"] == kept.json()["id"] == "a-1.b:2"


@pytest.mark.parametrize("odd", ["", "two words", "x" * 65, "a\tb", 'quote"'])
def test_an_odd_id_is_replaced(client: TestClient, odd: str) -> None:
    found = client.get("/hello/you", headers={"X-Request-Id": odd}).headers["x-request-id"]
    assert found != odd and len(found) == 16


def test_answers_are_counted_by_template(client: TestClient) -> None:
    before = counted("/hello/{name}", "200"), counted("/hello/{name}", "500"), counted("other", "404")
    assert client.get("/hello/zebra").json()["owed"] == 1
    client.get("/hello/broken")
    client.get("/zebra")
    assert (counted("/hello/{name}", "200"), counted("/hello/{name}", "500"), counted("other", "404")) == tuple(
        n + 1 for n in before
    )
    assert TRAFFIC.under_way == 0


def test_who_goes_away_is_owed_nothing() -> None:
    async def wait(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(60)

    async def go() -> None:
        scope = {"type": "http", "method": "GET", "path": "/hello/you", "headers": []}
        task = asyncio.create_task(RequestMiddleware(wait, TRAFFIC)(scope, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        assert TRAFFIC.under_way == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = counted("/hello/{name}", "499")
    asyncio.run(go())
    assert TRAFFIC.under_way == 0 and counted("/hello/{name}", "499") == before + 1


def test_without_a_token_there_are_no_metrics(client: TestClient) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 404 and "workbench_" not in answer.text
