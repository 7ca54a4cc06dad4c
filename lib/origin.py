"""Whose request this thread or task works on: its id, from the door to the worker and back, and its door.

The id is made or taken at the door (``web/doors.py``) and says nothing of the visitor. A thread that is started for a
request runs in a copy of its context (``contextvars.copy_context``), or it has no origin.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

LIBRARY = "library"
DOORS = ("page", "api", "mcp", "rest", LIBRARY)


@dataclass(frozen=True, slots=True)
class Origin:
    """``door``: the page, Gradio's API, MCP, REST, or ``library`` where nobody asked over HTTP."""

    id: str = ""
    door: str = LIBRARY


current: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039  (frozen)
