"""The one place where the library's errors become HTTP statuses and messages of the page."""

from __future__ import annotations

import gradio as gr
from fastapi.responses import JSONResponse

from lib.errors import (
    Cancelled,
    InvalidFile,
    InvalidValue,
    LimitExceeded,
    ModelUnavailable,
    NotFound,
    QueueFull,
    WorkbenchError,
)

STATUS: dict[type[WorkbenchError], int] = {
    InvalidValue: 422,
    InvalidFile: 422,
    NotFound: 404,
    LimitExceeded: 413,
    QueueFull: 429,
    ModelUnavailable: 503,
    Cancelled: 499,
    WorkbenchError: 500,
}


def as_response(error: WorkbenchError) -> JSONResponse:
    """``{"error": …}`` with the status of the nearest class in the tree."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {"Retry-After": "5"} if status in (429, 503) else None
    return JSONResponse({"error": error.message}, status_code=status, headers=headers)


def as_gradio(error: WorkbenchError) -> gr.Error:
    """A message box in the page, and the text of the exception in a client."""
    return gr.Error(error.message, print_exception=False)
