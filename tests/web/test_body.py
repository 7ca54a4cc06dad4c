"""Bodies of requests: how long one may pause, how many may come at once, and who goes away."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from lib.errors import Cancelled, LimitExceeded, QueueFull, TooSlow, WorkbenchError
from web import body
from web.errors import as_response


def request(*messages: dict[str, object], hang: bool = False) -> Request:
    left = list(messages)

    async def receive() -> dict[str, object]:
        if not left and hang:
            await asyncio.Event().wait()
        return left.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def piece(data: bytes, more: bool = True) -> dict[str, object]:
    return {"type": "http.request", "body": data, "more_body": more}


def test_a_body_goes_into_the_file(tmp_path: Path) -> None:
    assert asyncio.run(body.receive(request(piece(b"ab"), piece(b"c", False)), tmp_path / "b", 1)) == 3
    assert (tmp_path / "b").read_bytes() == b"abc"


def test_a_client_that_promises_and_sends_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "PAUSE", 0.05)
    with pytest.raises(TooSlow, match="2 bytes in 0 seconds"):
        asyncio.run(body.receive(request(piece(b"ab"), hang=True), tmp_path / "b", 1))


def test_a_client_that_goes_away(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        asyncio.run(body.receive(request(piece(b"ab"), {"type": "http.disconnect"}), tmp_path / "b", 1))


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="1 MB"):
        asyncio.run(body.receive(request(piece(b"0" * (2 << 20)), piece(b"", False)), tmp_path / "b", 1))


def test_too_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "AT_ONCE", 1)
    monkeypatch.setattr(body, "PAUSE", 0.5)

    async def both() -> None:
        first = asyncio.create_task(body.receive(request(hang=True), tmp_path / "1", 2))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await body.receive(request(piece(b"", False)), tmp_path / "2", 2)
        assert await body.receive(request(piece(b"x", False)), tmp_path / "small", 1) == 1  # JSON has places of its own
        with pytest.raises(TooSlow):
            await first
        assert await body.receive(request(piece(b"x", False)), tmp_path / "3", 2) == 1

    asyncio.run(both())


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A real server, whose /small takes 1 MB and /large 8."""
    app = FastAPI()

    def add(path: str, most: int) -> None:
        async def take(http: Request) -> Response:
            try:
                return JSONResponse({"size": await body.receive(http, tmp_path / path.strip("/"), most)})
            except WorkbenchError as error:
                return as_response(error)

        app.add_api_route(path, take, methods=["POST"])

    add("/small", 1)
    add("/large", 8)
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([door],))
        thread.start()
        yield door.getsockname()[:2]
        server.should_exit = True
        thread.join()


def test_a_byte_now_and_then_keeps_no_place(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes long before the pause is over, and the whole is too slow all the same."""
    monkeypatch.setattr(body, "GRACE", 0.6)
    monkeypatch.setattr(body, "AT_ONCE", 1)
    url = f"http://{address[0]}:{address[1]}"
    with socket.create_connection(address) as slow:
        slow.sendall(b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        slow.settimeout(0.05)
        answer, busy = b"", []
        while not answer:
            slow.sendall(b"x")
            try:
                answer = slow.recv(4096)
            except TimeoutError:
                busy.append(httpx.post(f"{url}/large", content=b"ab").status_code)
    assert answer.startswith(b"HTTP/1.1 408 ") and b'{"error":"The request body arrived too slowly: ' in answer
    assert 429 in busy
    assert httpx.post(f"{url}/large", content=b"ab").json() == {"size": 2}


def test_bytes_earn_time(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes fast enough may take longer than the grace."""
    monkeypatch.setattr(body, "GRACE", 0.3)
    monkeypatch.setattr(body, "RATE", 100)
    with socket.create_connection(address) as steady:
        steady.sendall(b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        steady.settimeout(0.1)
        for _ in range(9):
            steady.sendall(b"x" * 100)
            with pytest.raises(TimeoutError):  # no answer yet
                steady.recv(4096)
        steady.sendall(b"x" * 100)
        steady.settimeout(10)
        assert steady.recv(4096).startswith(b"HTTP/1.1 200 ")
