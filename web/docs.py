"""``GET /docs`` (Swagger UI) and ``/openapi.json``: our routes without Gradio's. Loads no scripts from other hosts."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute

import lib

FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
WORDS = """Everything the page does, over HTTP. Every error has the form `{"error": "…"}`.

Python's `gradio_client` does the same and more: see `/gradio_api/openapi.json`, or *Use via API* at the bottom of the page.
The MCP server is at `/gradio_api/mcp/`. `docs/api.md` in the repository has examples."""


def routes(title: str, ours: Callable[[], Sequence[BaseRoute]]) -> list[APIRoute]:
    """URLs are relative, since the app may be served under a path prefix."""
    folder = Path(str(importlib.resources.files("fastapi_offline"))) / "static"

    @lru_cache(maxsize=1)
    def schema() -> dict[str, Any]:
        version = lib.__version__
        return get_openapi(title=title, version=version, description=WORDS, routes=ours(), servers=[{"url": "."}])

    def openapi() -> JSONResponse:
        return JSONResponse(schema())

    def docs() -> HTMLResponse:
        script, style = (f"./docs/{name}" for name in FILES)
        return get_swagger_ui_html(
            openapi_url="./openapi.json",
            title=f"{title}: the REST routes",
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url="./favicon.ico",
            swagger_ui_parameters={"tryItOutEnabled": True, "defaultModelsExpandDepth": 0},
        )

    def static(name: str) -> Response:
        if name not in FILES:
            return JSONResponse({"error": "Swagger UI has no such file."}, status_code=404)
        headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return FileResponse(folder / name, media_type=FILES[name], headers=headers)

    table = (("/openapi.json", openapi), ("/docs", docs), ("/docs/{name}", static))
    return [APIRoute(path, answer, methods=["GET"], include_in_schema=False) for path, answer in table]
