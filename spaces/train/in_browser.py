"""The card "In this browser": runs a run's ONNX file on the visitor's device with onnxruntime-web.

The runtime is loaded from a public CDN only when the visitor asks for it. Its version is pinned, and the browser checks
the checksums below before it runs a file. If the CDN cannot be reached, the card says so and the rest of the page works.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from web import cards
from web.html import html, join

HERE = Path(__file__).parent
VERSION = "1.30.0"
HOST = "cdn.jsdelivr.net"
BASE = f"https://{HOST}/npm/onnxruntime-web@{VERSION}/dist/"
# of the npm package's files: `openssl dgst -sha384 -binary FILE | base64`; checked by tests/e2e/test_in_browser.py
FILES = {
    "ort.wasm.bundle.min.mjs": "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    "ort-wasm-simd-threaded.wasm": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
MEGABYTES = 14.3  # of both files; about 3.5 compressed
HEAD, HIDDEN = Markup("<h3>In this browser</h3>"), Markup(" hidden")
NEEDS = "The network can run on your own device, with its camera. That needs the run’s ONNX file."
ABOUT = (
    "The network runs on your device; pictures and camera frames do not leave it. The runtime, onnxruntime-web "
    f"{VERSION} ({MEGABYTES} MB), comes from {HOST} when you press the button, and runs only if its checksums match."
)
MAKE = "make:onnx"  # data-pick of the button that exports the ONNX file


def script() -> str:
    """Returns the JavaScript of the card's component."""
    worker, page = ((HERE / name).read_text(encoding="utf-8") for name in ("in_browser_worker.js", "in_browser.js"))
    return f"const WORKER = {json.dumps(worker)};\n{page}"


def card(run: str, classes: list[str], onnx: str) -> Markup:
    """Returns the card. ``onnx`` is the URL of the run's ONNX file, relative to the page, or "" if there is none yet."""
    if not onnx:
        button = html('<button class="mw-do" data-pick="{}">Make the ONNX file</button>', MAKE)
        content = html('<p class="mw-quiet">{}</p><div class="mw-links">{}</div>', NEEDS, button)
        return cards.card(HEAD, content, kind="mw-train")
    runtime = {"version": VERSION, "base": BASE, "megabytes": MEGABYTES}
    runtime["files"] = [{"name": name, "integrity": value} for name, value in FILES.items()]
    network: dict[str, Any] = {"address": onnx, "classes": classes}
    buttons = (
        ("load", "off", "Load and start"),
        ("picture", "ready", "Classify the picture above"),
        ("camera", "ready", "Start the camera"),
        ("stop", "live", "Stop the camera"),
    )
    row = join(
        html('<button class="mw-do" data-do="{}" data-when="{}"{}>{}</button>', do, when, HIDDEN * (when != "off"), text)
        for do, when, text in buttons
    )
    return html(
        '<div class="mw-card mw-train mw-browser" data-run="{}" data-runtime="{}" data-network="{}">{}'
        '<p class="mw-quiet">{}</p><div class="mw-links">{}</div>'
        '<p data-part="said"></p><div class="mw-live"><video data-part="camera" muted playsinline hidden></video>'
        '<div data-part="answer"></div></div></div>',
        run,
        json.dumps(runtime),
        json.dumps(network),
        HEAD,
        ABOUT,
        row,
    )


CSS = """
.mw-browser p { margin: 4px 0; } .mw-browser p[data-part=said]:empty { display: none; }
.mw-live { display: flex; flex-wrap: wrap; gap: 10px 16px; align-items: flex-start; }
.mw-live video { width: min(260px, 100%); border-radius: 8px; background: #000; }
.mw-live div { flex: 1 1 220px; min-width: 0; }
"""
