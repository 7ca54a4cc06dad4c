"""Gradio's Blocks, extended for every event listener: sets the request's origin, and reports unexpected exceptions.

Gradio's queue runs listeners in tasks of its own, so the context set by the middleware is missing there; the request
that Gradio passes on has it.
"""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr
from starlette.datastructures import Headers

from lib.origin import Origin, current

from .request_middleware import KEY

log = logging.getLogger(__name__)


class Page(gr.Blocks):
    async def process_api(self, block_fn: Any, *given: Any, request: Any = None, **options: Any) -> dict[str, Any]:
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        token = current.set(_origin(function, request))
        try:
            return await super().process_api(block_fn, *given, request=request, **options)
        except gr.Error:
            raise
        except Exception as error:  # Gradio would log its message, which may quote user input, and show the visitor nothing
            log.exception("a listener broke")
            words = f"Something went wrong inside the app ({type(error).__name__}). The server's log has the details."
            raise gr.Error(words, print_exception=False) from None
        finally:
            current.reset(token)


def _origin(function: Any, request: Any) -> Origin:
    """``request`` is Gradio's, Starlette's, or None for calls from Python."""
    scope = getattr(getattr(request, "request", None) or request, "scope", None)
    if not isinstance(scope, dict):
        return Origin()
    door = "page" if getattr(function, "api_visibility", "public") == "private" else "api"
    if Headers(scope=scope).get("x-gradio-user") == "mcp" or "/mcp" in scope["path"]:
        door = "mcp"
    return Origin(getattr(scope.get(KEY), "id", ""), door)
