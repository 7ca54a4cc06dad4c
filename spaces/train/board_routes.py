"""Serve TensorBoard under ``/tensorboard/<token>/``: each visitor's runs behind an unguessable token.

The routes are mounted beside the page (``app_kwargs={"routes": ...}``), which shows TensorBoard in an iframe.
TensorBoard is a WSGI app, so it runs in a few worker threads and never in the event loop. This module handles
routing, limits and headers; ``find`` maps a token to a folder of runs and ``Boards`` creates the WSGI apps.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from lib.train.board import Boards

PREFIX = "/tensorboard"
WORKERS = 4  # concurrent TensorBoard requests of all visitors; further ones wait
EACH = 2  # concurrent requests per token, so that a visitor with many runs slows down nobody else
MAX_BODY = 1_000_000  # bytes; TensorBoard requests a few hundred series at once, some 100 bytes each
POSTED = "/data/plugin/"  # path of TensorBoard's POST requests for series and hyperparameters, also below /experiment/<name>

# No external hosts: TensorBoard would load a style sheet for a chart that is not shown. TensorBoard also sends
# its own policy with each page, which allows only its own inline scripts; browsers enforce both.
# No frame-ancestors: on a Space our page is itself in an iframe of another site.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "style-src 'self' 'unsafe-inline' data:",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'none'",
    )
)
# no-referrer: the URL contains the token, and TensorBoard's menu links to other sites
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

# Our page runs this before the iframe loads. It turns on TensorBoard's auto-reload (every 30 s, its minimum)
# unless the visitor has changed that setting.
AUTO_RELOAD_JS = """\
(() => {
    try {
        const key = '_tb_global_settings';
        const settings = JSON.parse(localStorage.getItem(key) || '{}');
        if (!('autoReload' in settings)) {
            localStorage.setItem(key, JSON.stringify({ ...settings, autoReload: true }));
        }
    } catch (error) { /* no storage in this frame: the button in TensorBoard still reloads */ }
})();
"""


def routes(find: Callable[[str], Path | None], boards: Boards) -> list[BaseRoute]:
    """Return the routes. ``find`` maps a token to its folder of runs, or None; it is called in a worker thread."""
    return [Route(f"{PREFIX}/{{token}}", _with_slash, methods=["GET"]), Mount(f"{PREFIX}/{{token}}", _Page(find, boards))]


def _with_slash(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{quote(request.path_params['token'], safe='')}/")  # relative, so that a prefix is kept


class _Page:
    """ASGI app that rejects invalid requests and passes the others to a worker thread."""

    def __init__(self, find: Callable[[str], Path | None], boards: Boards) -> None:
        self._find, self._boards = find, boards
        self._workers: Any = None
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # kept by waiting requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        token = scope["path_params"]["token"]
        path = scope["path"].partition(f"{PREFIX}/{token}")[2]
        allowed = ["GET", "HEAD", "POST"] if POSTED in path else ["GET", "HEAD"]
        if scope["method"] not in allowed:
            await _refuse(405, f"Allowed here: {', '.join(allowed)}.", {"Allow": ", ".join(allowed)})(scope, receive, send)
            return
        # read the whole body first, so that a slow client does not occupy a worker
        if (body := await _body(receive)) is None:
            await _refuse(413, f"More than {MAX_BODY:,} bytes.")(scope, receive, send)
            return
        headers = [
            (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
        ]
        scope = {
            **scope,
            "path": scope["root_path"] + path,
            "query_string": quote(scope["query_string"], safe="%&=+,;:/?@!$'()*[]~").encode(),  # TensorBoard expects ASCII
            "headers": [*headers, (b"content-length", str(len(body)).encode())],
        }

        async def replay() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        turn = self._turns.setdefault(token, asyncio.Semaphore(EACH))
        async with turn:
            await self._pool()(scope, replay, send)

    def _pool(self) -> Any:
        if self._workers is None:
            from a2wsgi import WSGIMiddleware

            self._workers = WSGIMiddleware(self._answer, workers=WORKERS)
        return self._workers

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI app, called in a worker thread: answers 404 for an unknown token, else calls TensorBoard."""
        token = environ["asgi.scope"]["path_params"]["token"]
        if (folder := self._find(token)) is None:
            content = json.dumps({"error": "There are no runs here. Open the Train tab again."}).encode()
            headers = [*HEADERS.items(), ("Content-Type", "application/json"), ("Cache-Control", "no-store")]
            start_response("404 Not Found", [*headers, ("Content-Length", str(len(content)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            # only scripts with a hash in their URL may be cached
            cached = any(name.lower() == "cache-control" and "max-age" in value for name, value in headers)
            if not cached:
                headers = [(n, v) for n, v in headers if n.lower() not in ("cache-control", "expires")]
                headers.append(("Cache-Control", "no-store"))
            extra = [(n, v) for n, v in HEADERS.items() if n == "Content-Security-Policy" or n not in dict(headers)]
            return start_response(status, [*headers, *extra], *rest)

        return self._boards.app(folder)(environ, start)


async def _body(receive: Receive) -> bytes | None:
    """Read the request body. Returns None if it is larger than ``MAX_BODY``."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _refuse(status: int, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": words}, status, {**HEADERS, "Cache-Control": "no-store", **(headers or {})})
