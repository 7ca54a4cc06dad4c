"""The request that the current thread or task serves: its id, and the interface (door) it came through.

``web/request_middleware.py`` creates the id or takes it from the client; it does not identify the visitor. A thread
started for a request must run in a copy of the request's context (``contextvars.copy_context``) to keep the origin.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

LIBRARY = "library"
DOORS = ("page", "api", "mcp", "rest", LIBRARY)


@dataclass(frozen=True, slots=True)
class Origin:
    """``door``: the page, Gradio's API, MCP, REST, or ``library`` for calls that did not come over HTTP."""

    id: str = ""
    door: str = LIBRARY


current: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039  (frozen)
