"""ASGI middleware that sets the origin of each request, counts responses, and tracks pending ones.

The request id is the X-Request-Id sent by a proxy, or else a new one. It is added to the response and to all log lines
of the request, including those of child processes. Create routes with ``route(…)`` of ``web/openapi.py``, which
documents the header.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib import log, metrics
from lib.origin import Origin, current

from .sessions import Sessions

ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
KEY = "workbench.origin"  # key in the ASGI scope: Gradio runs listeners in tasks that do not inherit the request's context
GRADIO = "/gradio_api/"
ANSWERS = ("/gradio_api/queue/data", "/gradio_api/call/")  # streams that end with the result
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HEARTBEAT = "/gradio_api/heartbeat/"  # stays open as long as the page
QUIET = ("/healthz", "/readyz", "/metrics")  # polled by machines, not logged


class Traffic:
    """State of the middleware: ``routes`` are our own, ``under_way`` counts pending responses."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self.routes = list(routes)
        self.under_way = 0  # only changed in the server's event loop
        self.sessions = Sessions()

    def name(self, scope: Scope) -> str:
        """Returns the route's template, ``gradio``, or ``other``. Not the path, which may contain user input."""
        for route in self.routes:
            if route.matches(scope)[0] != Match.NONE:
                return getattr(route, "path", "") or metrics.OTHER
        return "gradio" if scope["path"] == "/" or scope["path"].startswith((GRADIO, "/assets/")) else metrics.OTHER

    def connected(self, session: str, change: int) -> None:
        """Counts a page's connection that begins (1) or ends (-1)."""
        count = self.sessions.connected
        if session:
            count[session] += change
            if count[session] <= 0:
                del count[session]


class RequestMiddleware:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self.app, self.traffic = app, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, route = time.monotonic(), self.traffic.name(scope)
        own_route = route not in ("gradio", metrics.OTHER, *QUIET)
        client_id = Headers(scope=scope).get("x-request-id", "")
        origin = Origin(client_id if ID.fullmatch(client_id) else secrets.token_hex(8), "rest" if own_route else "page")
        scope[KEY] = origin
        pending = own_route or scope["path"].startswith(ANSWERS)
        status = 500  # if the app fails before it responds

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(raw=message["headers"])["X-Request-Id"] = origin.id
            await send(message)

        session = scope["path"].removeprefix(HEARTBEAT) if scope["path"].startswith(HEARTBEAT) else ""
        token = current.set(origin)
        self.traffic.under_way += pending
        self.traffic.connected(session, 1)
        try:
            await self.app(scope, receive, answer)
        except asyncio.CancelledError:
            status = 499
            raise
        finally:
            self.traffic.under_way -= pending
            self.traffic.connected(session, -1)
            current.reset(token)
            method = scope["method"] if scope["method"] in METHODS else metrics.OTHER
            metrics.HTTP.labels(route, method, str(status)).inc()
            if own_route:
                seconds = round(time.monotonic() - began, 3)
                log.event("http", request=origin.id, route=route, method=method, status=status, seconds=seconds)
