"""TensorBoard under ``/tensorboard/<token>/``: each visitor's runs behind a token that nobody can guess.

Mounted beside the page (``app_kwargs={"routes": ...}``), shown in a frame of it. What TensorBoard does
happens in a few threads of its own, never in the server's loop. Knows how the page is reached and what
it may do; does not know who owns a token (``find``) nor how a board is made (``Boards``).
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
WORKERS = 4  # requests that TensorBoard works on at once, of all visitors; the others wait
EACH = 2  # of them for one token: the first page of somebody with many runs takes seconds, of that visitor only
MAX_BODY = 1_000_000  # bytes; the page asks for a few hundred series at once, some 100 bytes each
POSTED = "/data/plugin/"  # the page asks there by POST for series and hyperparameters, below /experiment/<name> too

# The page may reach no other host: it would ask one for a style sheet of a chart that nobody sees.
# TensorBoard sends a policy of its own with each page, which forbids inline scripts but its own; a
# browser obeys both. No frame-ancestors: on a Space our page is itself in a frame of another site.
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
# no-referrer: the address holds the token, and TensorBoard's menu links to other sites
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

# For our page, before the frame loads: TensorBoard looks for new data by itself (every 30 s, its minimum)
# unless the visitor has switched that off in it.
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
    """``find`` gives the folder of runs that belongs to a token, or None; it runs in a worker's thread."""
    return [Route(f"{PREFIX}/{{token}}", _with_slash, methods=["GET"]), Mount(f"{PREFIX}/{{token}}", _Page(find, boards))]


def _with_slash(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{quote(request.path_params['token'], safe='')}/")  # relative: whatever is in front stays


class _Page:
    """An ASGI app: what is not allowed is refused here, everything else goes to a worker."""

    def __init__(self, find: Callable[[str], Path | None], boards: Boards) -> None:
        self._find, self._boards = find, boards
        self._workers: Any = None
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # kept by those who wait

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
        # all of it before a worker is taken: a slow client keeps none busy
        if (body := await _body(receive)) is None:
            await _refuse(413, f"More than {MAX_BODY:,} bytes.")(scope, receive, send)
            return
        headers = [
            (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
        ]
        scope = {
            **scope,
            "path": scope["root_path"] + path,
            "query_string": quote(scope["query_string"], safe="%&=+,;:/?@!$'()*[]~").encode(),  # it reads ASCII only
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
        """In a worker's thread."""
        token = environ["asgi.scope"]["path_params"]["token"]
        if (folder := self._find(token)) is None:
            words = json.dumps({"error": "There are no runs here. Open the Train tab again."}).encode()
            headers = [*HEADERS.items(), ("Content-Type", "application/json"), ("Cache-Control", "no-store")]
            start_response("404 Not Found", [*headers, ("Content-Length", str(len(words)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [words]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            # scripts that carry a hash in their address may be kept, nothing else
            kept = any(name.lower() == "cache-control" and "max-age" in value for name, value in headers)
            if not kept:
                headers = [(n, v) for n, v in headers if n.lower() not in ("cache-control", "expires")]
                headers.append(("Cache-Control", "no-store"))
            own = [(n, v) for n, v in HEADERS.items() if n == "Content-Security-Policy" or n not in dict(headers)]
            return start_response(status, [*headers, *own], *rest)

        return self._boards.app(folder)(environ, start)


async def _body(receive: Receive) -> bytes | None:
    """What the client sends, or None where it is too much."""
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
