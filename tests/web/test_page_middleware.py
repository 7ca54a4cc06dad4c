"""What goes out compressed, and that nothing else is touched or held back."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from web.addresses import head
from web.page_middleware import PageMiddleware

PAGE = f'<html><head><meta property="og:title" content="Gradio" /><script type="module">{"x" * 4000}</script></head></html>'


def application(events: list[str] | None = None) -> PageMiddleware:
    async def lines() -> AsyncIterator[bytes]:
        for k in range(3):
            if events is not None:
                events.append("made")
            yield b'data: {"k": %d}\n\n' % k + b"x" * 2000
            await asyncio.sleep(0)

    answers = {
        "/": lambda _: HTMLResponse(PAGE),
        "/config": lambda _: JSONResponse({"words": "x" * 4000}),
        "/small": lambda _: JSONResponse({"words": "x"}),
        "/png": lambda _: Response(b"\x89PNG" + bytes(4000), media_type="image/png"),
        "/packed": lambda _: HTMLResponse(gzip.compress(b"x" * 4000), headers={"Content-Encoding": "gzip"}),
        "/stream": lambda _: StreamingResponse(lines(), media_type="text/event-stream"),
        "/pieces": lambda _: StreamingResponse(lines(), media_type="application/json"),
    }

    def route(path: str) -> Route:
        async def answer(http):  # type: ignore[no-untyped-def]
            return answers[path](http)

        return Route(path, answer)

    return PageMiddleware(Starlette(routes=[route(path) for path in answers]), head("A title", 'Words & "more"', "b {}"))


def ask(path: str, encoding: str = "gzip, br") -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app=application())
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path, headers={"accept-encoding": encoding})

    return asyncio.run(get())


@pytest.mark.parametrize("path", ["/", "/config"])
def test_text_in_one_piece_is_compressed_for_who_can_read_it(path: str) -> None:
    packed, plain = ask(path), ask(path, "identity")
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/small", "/png", "/stream", "/pieces"])
def test_the_rest_is_as_it_was(path: str) -> None:
    answer = ask(path)
    assert answer.status_code == 200 and "content-encoding" not in answer.headers


def test_what_is_packed_is_not_packed_again() -> None:
    assert ask("/packed").text == "x" * 4000


@pytest.mark.parametrize("path", ["/stream", "/pieces"])
def test_a_piece_goes_out_before_the_next_is_made(path: str) -> None:
    events: list[str] = []

    async def send(message):  # type: ignore[no-untyped-def]
        if message.get("body"):
            events.append("sent")

    async def receive():  # type: ignore[no-untyped-def]
        await asyncio.sleep(3600)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"accept-encoding", b"gzip")]}
    asyncio.run(application(events)(scope, receive, send))
    assert events == ["made", "sent"] * 3


def test_the_index_has_our_words_and_our_script_first() -> None:
    page = ask("/").text
    assert '<meta property="og:title" content="A title" />' in page and 'content="Gradio"' not in page
    assert 'content="Words &amp; &#34;more&#34;"' in page and "<style>b {}</style>" in page
    assert page.index("window.workbench") < page.index('<script type="module"')


def test_another_gradio_is_noticed() -> None:
    with pytest.raises(ValueError, match="how it starts now"):
        head("A title", "Words")("<html></html>")
