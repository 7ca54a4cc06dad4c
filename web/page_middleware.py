"""ASGI middleware that edits the head of the index page and compresses text responses.

Gradio compresses static files only, not the index, ``/config`` or JSON. Only responses with a single body message are
handled: those with several (event streams, files) and compressed ones pass through unbuffered.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KINDS = ("text/html", "application/json")
MIN_BYTES = 1024  # bytes; below that, compression does not pay off


class PageMiddleware:
    """ASGI middleware. ``edit`` changes the HTML that Gradio sends for ``/``."""

    def __init__(self, app: ASGIApp, edit: Callable[[str], str]) -> None:
        self.app, self.edit = app, edit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "HEAD":
            await self.app(scope, receive, send)
            return
        start: Message | None = None  # held back until the first body message shows whether more follow

        async def send_page(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_text(Headers(raw=message["headers"])):
                start = message
                return
            if start is not None and message["type"] == "http.response.body":
                begin, start = start, None
                if not message.get("more_body", False):
                    message = message | {"body": self._made(scope, begin, message.get("body", b""))}
                await send(begin)
            await send(message)

        await self.app(scope, receive, send_page)

    def _made(self, scope: Scope, start: Message, body: bytes) -> bytes:
        """Returns the body to send, and updates the headers of ``start`` to match."""
        headers = MutableHeaders(raw=start["headers"])
        if scope["path"] == "/" and start["status"] == 200 and headers["content-type"].startswith("text/html"):
            body = self.edit(body.decode()).encode()
        headers.add_vary_header("Accept-Encoding")
        if len(body) >= MIN_BYTES and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            body = gzip.compress(body, compresslevel=6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
        return body


def _is_text(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith(KINDS) and "content-encoding" not in headers
