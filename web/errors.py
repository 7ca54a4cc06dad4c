"""Maps errors to HTTP statuses and messages on the page. Every error response of ours is ``{"error": …}``.

Errors below ``/gradio_api/`` keep Gradio's format, since its clients expect ``detail``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from fastapi import Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from lib.errors import (
    Cancelled,
    InvalidFile,
    InvalidValue,
    LimitExceeded,
    ModelUnavailable,
    NotFound,
    QueueFull,
    TooSlow,
    WorkbenchError,
)

STATUS: dict[type[WorkbenchError], int] = {
    InvalidValue: 422,
    InvalidFile: 422,
    NotFound: 404,
    LimitExceeded: 413,
    QueueFull: 429,
    TooSlow: 408,
    ModelUnavailable: 503,
    Cancelled: 499,
    WorkbenchError: 500,
}

REFUSES = "refuses"  # set on routes that only reject requests with the wrong method


def as_response(error: WorkbenchError) -> JSONResponse:
    """Returns ``{"error": …}`` with the status of the nearest base class in ``STATUS``."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {"Retry-After": "5"} if status in (429, 503) else None
    return JSONResponse({"error": error.message}, status_code=status, headers=headers)


def handlers(ours: Sequence[BaseRoute]) -> dict[Any, Callable[..., Any]]:
    """Returns exception handlers for requests that reach no endpoint, or whose endpoint raised.

    These are unknown paths, wrong methods, parameters rejected by FastAPI, and unexpected exceptions.
    """

    async def refused(http: Request, error: HTTPException) -> Response:
        if _gradios(http):
            return await http_exception_handler(http, error)
        path, words, headers = http.url.path[:80], str(error.detail), dict(error.headers or {})
        if error.status_code == 404 and words == "Not Found":
            words = f"There is nothing at {path!r}. GET /docs lists the routes."
        if error.status_code == 405:
            matching = [route for route in ours if _at(route, http) and not getattr(route, REFUSES, False)]
            methods = sorted({m for route in matching for m in getattr(route, "methods", None) or ()})
            allowed = ", ".join(methods) or headers.get("allow", "GET")
            words, headers = f"{path} does not accept {http.method[:20]}. Use {allowed}.", {"Allow": allowed}
        return JSONResponse({"error": words}, status_code=error.status_code, headers=headers)

    async def invalid(http: Request, error: RequestValidationError) -> Response:
        if _gradios(http):
            return await request_validation_exception_handler(http, error)
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return as_response(InvalidValue(field, first.get("input"), first["msg"]))

    async def broken(http: Request, error: Exception) -> Response:
        if _gradios(http):
            return PlainTextResponse("Internal Server Error", status_code=500)
        words = "Something went wrong inside the app. The server's log has the details."
        return JSONResponse({"error": words}, status_code=500)

    return {HTTPException: refused, RequestValidationError: invalid, Exception: broken}


def _gradios(http: Request) -> bool:
    return http.url.path.startswith("/gradio_api/")


def _at(route: BaseRoute, http: Request) -> bool:
    return route.matches(http.scope)[0] != Match.NONE


def as_gradio(error: WorkbenchError) -> gr.Error:
    """Returns an exception that the page shows as a message box, and that clients receive as text."""
    return gr.Error(error.message, print_exception=False)
