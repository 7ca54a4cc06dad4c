"""Serves Netron, the graph viewer, under ``/netron/``: the web app of its wheel, offline, for an iframe in our page.

As shipped, Netron looks up the visitor's country, asks for consent to cookies, reports to an analytics service, and
refuses to run 180 days after its release. The start page served here declares it a development build of today, and
loads a script of ours first. This module knows where the wheel is and how Netron parses its URL; it does not know what
is shown, and reads no model.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from web.html import html

PREFIX = "/netron"
FIRST_SCRIPT = "workbench.js"

# File types of the web app and their media types, since the system's own table may differ.
TYPES = {
    ".css": "text/css",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}

# The page must not reach another host, whatever its URL requests (?url=https://…, ?gist=…) or a model contains.
# No frame-ancestors: on a Space our own page is in an iframe of another site, and that directive checks all
# ancestors.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

# Patches applied before Netron starts, in this order:
# - Consent. A real cookie does not work: in an iframe of another site (a Space) browsers do not store it.
# - A development build requests its tables (5.6 MB for ONNX) with a new URL each time; with the plain URL the
#   browser can cache them.
# - Netron focuses its canvas once a graph is drawn, which would scroll our page to the iframe and take the focus
#   from an input on our page.
# - In a hidden iframe (an inactive tab) all text measures 0, and the graph collapses for good: Netron starts once
#   the iframe has a size.
# - "Report Issue" would load GitHub in the iframe, which GitHub refuses: it opens in a new tab instead.
SCRIPT = """\
'use strict';
Object.defineProperty(document, 'cookie', { get: () => 'consent=1', set: () => {} });
const open = XMLHttpRequest.prototype.open;
XMLHttpRequest.prototype.open = function(method, url, ...rest) {
    return open.call(this, method, String(url).replace(/\\.json\\?cb=\\d+$/, '.json'), ...rest);
};
const focus = HTMLElement.prototype.focus;
HTMLElement.prototype.focus = function(options) {
    if (document.hasFocus()) {
        focus.call(this, options);
    }
};
window.addEventListener('load', (event) => {
    if (window.innerWidth === 0) {
        event.stopImmediatePropagation();
        window.addEventListener('resize', () => window.dispatchEvent(new Event('load')), { once: true });
    }
});
// One that is hidden while it draws is spoiled in the same way: it draws once more when it is seen again.
// Its texts then stand above their boxes. The history remembers how often, over reloads.
const drawn = () => {
    const box = document.querySelector('#canvas .node text')?.getBBox();
    return document.body?.classList.contains('default') && box?.height > 0 ? box : null;
};
const spoiled = () => (drawn()?.y ?? 0) < 0;
setInterval(() => {
    const turns = history.state?.turns ?? 0;
    if (spoiled() && turns < 3) {
        history.replaceState({ ...history.state, turns: turns + 1 }, '');
        location.reload();
    }
}, 300);
// Our page names a node: the graph goes to it, as soon as it is drawn. A node that is clicked is told to our page.
const target = () => window.__view__?._target;
// Of a TensorFlow Lite file, Netron puts a tensor's number behind its name, on a line of its own.
const plain = (value) => String(value?.name ?? '').split('\\n')[0];
const find = (wanted) => {
    const nodes = [...(target()?._table?.keys() ?? [])].filter((node) => Array.isArray(node?.outputs) && node.type);
    const parts = (node) => [node, ...(node.chain ?? [])];
    const makes = (node) => node.outputs.some((one) => one.value?.some?.((value) => plain(value) === wanted.output));
    return nodes.find((node) => wanted.name && parts(node).some((part) => part.name === wanted.name)) ??
        nodes.find((node) => wanted.output && parts(node).some(makes));
};
let latest = 0;
const show = (wanted) => {
    const turn = ++latest, until = Date.now() + 20000;
    let seen = 0;
    const look = () => {
        if (turn !== latest || Date.now() > until) {
            return;
        }
        const found = drawn() && !spoiled() && target()?._table?.size ? find(wanted) : null;
        if (found && seen++ > 1) { // drawn for a while: Netron closes its sidebar as it ends
            history.replaceState({ ...history.state, wanted: null }, '');
            target().scrollTo(target().activate(found, 'sidebar'));
        } else {
            setTimeout(look, 200);
        }
    };
    look();
};
window.addEventListener('message', (event) => {
    if (event.source === window.parent && event.origin === location.origin && event.data?.workbench === 'show') {
        const wanted = { name: String(event.data.name ?? ''), output: String(event.data.output ?? '') };
        history.replaceState({ ...history.state, wanted }, ''); // outlives a reload
        show(wanted);
    }
});
if (history.state?.wanted) {
    show(history.state.wanted);
}
document.addEventListener('click', () => setTimeout(() => {
    const [chosen] = target()?._selection ?? [];
    const node = chosen?.value;
    if (window.parent !== window && node?.type && Array.isArray(node.outputs)) {
        const output = plain(node.outputs[0]?.value?.[0]);
        window.parent.postMessage({ workbench: 'node', name: node.name ?? '', output }, location.origin);
    }
}, 150), true);
// "Open..." would change the graph and nothing else of our page, "Report Issue" goes to Netron's authors.
new MutationObserver(() => {
    for (const command of document.querySelectorAll('.menu-command')) {
        command.hidden = /^(Open|Report)/.test(command.textContent.trim());
        command.style.display = command.hidden ? 'none' : '';
    }
}).observe(document, { childList: true, subtree: true });
window.navigation?.addEventListener('navigate', (event) => {
    const url = new URL(event.destination.url);
    if (url.origin !== location.origin && event.cancelable) {
        event.preventDefault();
        window.open(url, '_blank', 'noopener');
    }
});
"""

# Netron queries the preferred color scheme, which an iframe inherits from its element: so it is light or dark like
# our page, not like the visitor's system. CSS goes into the page, FRAME is the class of the iframe element.
FRAME = "mw-netron"
CSS = f".{FRAME} {{ color-scheme: light; }} .dark .{FRAME} {{ color-scheme: dark; }}"


def address(file: str, name: str) -> str:
    """Returns the URL of an iframe that shows the model at ``file``, a URL on this host, as ``name``.

    Netron only opens known file extensions, so other names get ``.onnx`` appended.
    """
    identifier = name if name.lower().endswith((".onnx", ".tflite")) else f"{name}.onnx"
    return f"{PREFIX}/?{urlencode({'url': file, 'identifier': identifier})}"


def routes() -> list[APIRoute]:
    """Routes for the start page, our script, and the wheel's files by exact name: no paths are joined."""
    folder = Path(str(importlib.resources.files("netron")))
    files = {path.name: path for path in folder.iterdir() if path.suffix in TYPES and path.is_file()}
    edited = {"view.js": _plain_brackets(files["view.js"].read_text(encoding="utf-8"))}
    before, after = _halves((folder / "index.html").read_text(encoding="utf-8"))

    def index() -> HTMLResponse:
        # dated per request: a server that runs for months must not become too old for Netron
        page = f"{before}{datetime.now(UTC):%Y-%m-%d} 00:00:00{after}"
        return HTMLResponse(page, headers={**HEADERS, "Cache-Control": "no-cache"})

    def static(name: str, request: Request) -> Response:
        headers = {**HEADERS, "Cache-Control": "public, max-age=3600"}
        if name == FIRST_SCRIPT:
            return Response(SCRIPT, media_type="text/javascript", headers=headers)
        if name in edited:
            tag = f'"{hashlib.blake2b(edited[name].encode(), digest_size=16).hexdigest()}"'
            unchanged = request.headers.get("if-none-match") == tag
            script = Response(None if unchanged else edited[name], 304 if unchanged else 200, media_type=TYPES[".js"])
            script.headers.update(headers | {"ETag": tag})
            return script
        if (path := files.get(name)) is None:
            return JSONResponse({"error": "Netron has no such file."}, status_code=404)
        response = FileResponse(path, media_type=TYPES[path.suffix], headers=headers, stat_result=path.stat())
        if request.headers.get("if-none-match") == response.headers["etag"]:
            return Response(status_code=304, headers={**headers, "ETag": response.headers["etag"]})
        return response

    return [
        APIRoute(f"{PREFIX}/", index, methods=["GET"], include_in_schema=False),
        APIRoute(f"{PREFIX}/{{name}}", static, methods=["GET"], include_in_schema=False),
    ]


def _plain_brackets(script: str) -> str:
    """Replaces the CJK brackets around shapes, which many fonts lack, with mathematical ones, which most have."""
    return script.replace("\\u3008", "\\u27e8").replace("\\u3009", "\\u27e9")


def _halves(page: str) -> tuple[str, str]:
    """Edits the wheel's start page. Returns the parts before and after the build date."""
    edits = (
        (r'(?<=<meta name="version" content=")[^"]*', "0.0.0"),
        (r'(?=<script [^>]*src="index\.js">)', str(html('<script src="{}"></script>\n', FIRST_SCRIPT))),
        (r'(?<=<meta name="date" content=")[^"]*', "\0"),
    )
    for pattern, text in edits:
        page, count = re.subn(pattern, text, page)
        if count != 1:  # another version of Netron: better fail than report to third parties
            raise RuntimeError(f"Netron's index.html has {count} places for {pattern}; 1 was expected.")
    before, _, after = page.partition("\0")
    return before, after
