"""Bodies of requests: how long one may pause, how many may come at once, and who goes away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import Request

from lib.errors import Cancelled, LimitExceeded, QueueFull
from web import body


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
    with pytest.raises(LimitExceeded, match="pause"):
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
        first = asyncio.create_task(body.receive(request(hang=True), tmp_path / "1", 1))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await body.receive(request(piece(b"", False)), tmp_path / "2", 1)
        with pytest.raises(LimitExceeded):
            await first
        assert await body.receive(request(piece(b"x", False)), tmp_path / "3", 1) == 1

    asyncio.run(both())
