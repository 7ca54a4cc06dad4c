"""Cards that describe a source and samples of its inputs."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from lib.convert.service.converter import CONTAINERS
from web.cards import card, chip
from web.html import code, html, join

from .figures import bytes_text
from .view_shared import RANDOM, label, messages, shape, short, values

REMEDY = "The weights are untrained. To use trained ones, drop a .pth or .safetensors file above and keep the name."


def about(found: dict[str, Any], name: str) -> Markup:
    """Return the card of a source: format, size, inputs, outputs and messages."""
    size = f", {bytes_text(found['bytes'])}" if found.get("bytes") else ""
    heading = html("{} <b>{}</b>{}", chip(found["title"]), short(label(name)), size)
    random = html("<p>{} {}</p>", RANDOM, REMEDY) if found.get("weights") == "random" else ""
    if found["format"] in CONTAINERS:
        body = _container(found["outputs"], found.get("fits") or [])
    else:
        sides = values("Inputs", found.get("inputs", [])) + values("Outputs", found.get("outputs", []))
        body = html('<div class="mw-values mw-scroll">{}</div>', sides)
    notes = messages(found.get("messages", []))
    return card(html('<p class="mw-verdict">{}</p>', heading), random, body, notes)


def _container(tensors: list[dict[str, Any]], fits: list[str]) -> Markup:
    parameter_count = sum(math.prod(d for d in v["shape"] if isinstance(d, int)) for v in tensors)
    table = values("Tensors", tensors, 400)
    summary = f"{len(tensors)} tensors, {parameter_count / 1e6:.3g} million parameters: weights without an architecture."
    hint = "To convert the network, also choose its architecture by name above."
    for name in fits[:1]:
        button = html('<button type="button" class="mw-link" data-pick="{}">Use it</button>', name)
        hint = html("They fit <b>{}</b>. {} to convert the network with these weights.", name, button)
    return html("<p>{} {}</p><details><summary>All tensors</summary>{}</details>", summary, hint, table)


def samples(found: dict[str, Any]) -> Markup:
    """Return the card of samples: their number and kind, and a few pictures after preprocessing."""
    count, kind = (
        found["count"],
        {"pictures": "picture", "wave": "sound clip", "text": "text"}.get(found["kind"], "sample"),
    )
    parts: list[str] = [html("<b>{:,} {}{}</b>", count, kind, "s" * (count != 1))]
    if found["labels"]:
        class_sizes = sorted(found["classes"].values())
        spread = f"{class_sizes[0]} to {class_sizes[-1]}" if class_sizes[0] < class_sizes[-1] else class_sizes[0]
        parts.append(f"{found['labels']} classes, {spread} each")
    elif count > 1:
        parts.append("no labels")
    pictures = join(_picture(p) for p in found["pictures"])
    strip = html('<div class="mw-sample-strip">{}</div><small>as the model will see them</small>', pictures)
    arrays = (html("{} {} {}", code(v.get("name")), v.get("dtype"), shape(v.get("shape", []))) for v in found["arrays"][:6])
    heading = html("<p>{}</p>{}", join(parts, " · "), strip if pictures else "")
    example = html("<p><small>One sample: {}</small></p>{}", join(arrays, ", "), messages(found["messages"]))
    return card(heading, example, kind="mw-samples", say=f"{count} samples")


def _picture(found: dict[str, Any]) -> Markup:
    return html(
        '<figure><img src="data:image/png;base64,{}" alt="{}"><figcaption>{}</figcaption></figure>',
        found["png"],
        found["label"] or "a sample",
        short(found["label"], 14),
    )
