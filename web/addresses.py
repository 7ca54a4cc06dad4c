"""URLs for people: ``/?tab=convert`` opens a tab, and a browser that opens an API route is redirected to its tab.

Also edits the head of the index page: metadata for link previews, and the script that must run before Gradio's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from markupsafe import Markup
from starlette.responses import Response

from web.errors import REFUSES
from web.html import html, join

SCRIPT = Path(__file__).with_name("page.js")
META = re.compile(r'[ \t]*<meta\s+(?:property="og:|name="twitter:)[^>]*?/?>\n?')
FIRST = '<script type="module"'  # where Gradio's own scripts start


def head(title: str, description: str, css: str = "") -> Callable[[str], str]:
    """Returns a function that edits Gradio's index page. It raises ValueError if the page does not contain ``FIRST``."""
    words = {"title": title, "description": description}
    tags = [html('<meta property="og:{}" content="{}" />', name, text) for name, text in words.items()]
    tags += [html('<meta name="twitter:{}" content="{}" />', name, text) for name, text in words.items()]
    tags += [
        Markup('<meta property="og:type" content="website" />'),
        Markup('<meta name="twitter:card" content="summary" />'),
        html('<meta name="description" content="{}" />', description),
        html("<title>{}</title>", title),
        html("<style>{}</style>", Markup(css)),
        html("<script>{}</script>", Markup(SCRIPT.read_text(encoding="utf-8"))),
    ]
    own_tags = str(join(tags, "\n"))

    def edit(page: str) -> str:
        start, marker, rest = page.partition(FIRST)
        if not marker:
            raise ValueError(f"gradio's index has no {FIRST}: web/addresses.py must learn how it starts now.")
        return f"{META.sub('', start)}{own_tags}\n{marker}{rest}"

    return edit


def routes(slug: str, tab: Iterable[APIRoute]) -> list[APIRoute]:
    """Returns ``GET /<slug>``, and a GET route for each path that the tab only serves by POST."""
    tab = [route for route in tab if isinstance(route, APIRoute)]
    gets = {route.path for route in tab if "GET" in route.methods}
    posts = {route.path for route in tab if "POST" in route.methods} - gets
    return [_redirect(slug, path, path in posts) for path in sorted(posts | {f"/{slug}"} - gets)]


def _redirect(slug: str, path: str, posts: bool) -> APIRoute:
    async def to_the_page(http: Request) -> Response:
        if posts and "text/html" not in http.headers.get("accept", ""):
            words = f"Use POST for {path}. In a browser, open /?tab={slug}."
            return JSONResponse({"error": words}, status_code=405, headers={"Allow": "POST"})
        return RedirectResponse(f"./?tab={slug}", status_code=303)

    redirect = APIRoute(path, to_the_page, methods=["GET"], include_in_schema=False)
    setattr(redirect, REFUSES, posts)
    return redirect
