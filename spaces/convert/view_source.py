"""What the converter says of a source and of samples of its inputs, as HTML."""

from __future__ import annotations

import math
from typing import Any

from lib.convert.service.converter import CONTAINERS
from web.cards import e

from .figures import bytes_text
from .view_shared import RANDOM, label, messages, shape, short, values

REMEDY = "The weights are untrained. To use trained ones, drop a .pth or .safetensors file above and keep the name."


def about(found: dict[str, Any], name: str) -> str:
    """What the source is: format, size, what goes in and out, and what was said on opening it."""
    size = f", {bytes_text(found['bytes'])}" if found.get("bytes") else ""
    first = f'<span class="mw-chip">{e(found["title"])}</span> <b>{e(short(label(name)))}</b>{size}'
    random = f"<p>{RANDOM} {e(REMEDY)}</p>" if found.get("weights") == "random" else ""
    if found["format"] in CONTAINERS:
        body = _container(found["outputs"], found.get("fits") or [])
    else:
        sides = values("Inputs", found.get("inputs", [])) + values("Outputs", found.get("outputs", []))
        body = f'<div class="mw-values mw-scroll">{sides}</div>'
    return f'<div class="mw-card"><p class="mw-verdict">{first}</p>{random}{body}{messages(found.get("messages", []))}</div>'


def _container(tensors: list[dict[str, Any]], fits: list[str]) -> str:
    numbers = sum(math.prod(d for d in v["shape"] if isinstance(d, int)) for v in tensors)
    table = values("Tensors", tensors, 400)
    first = f"{len(tensors)} tensors, {numbers / 1e6:.3g} million parameters: weights without an architecture."
    use = "To convert the network, also choose its architecture by name above."
    for name in fits[:1]:
        button = f'<button type="button" class="mw-link" data-pick="{e(name)}">Use it</button>'
        use = f"They fit <b>{e(name)}</b>. {button} to convert the network with these weights."
    return f"<p>{first} {use}</p><details><summary>All tensors</summary>{table}</details>"


def samples(found: dict[str, Any]) -> str:
    """How many there are and what they are, with a few pictures as the model will see them."""
    count, kind = (
        found["count"],
        {"pictures": "picture", "wave": "sound clip", "text": "text"}.get(found["kind"], "sample"),
    )
    parts = [f"<b>{count:,} {kind}{'s' * (count != 1)}</b>"]
    if found["labels"]:
        each = sorted(found["classes"].values())
        spread = f"{each[0]} to {each[-1]}" if each[0] < each[-1] else each[0]
        parts.append(f"{found['labels']} classes, {spread} each")
    elif count > 1:
        parts.append("no labels")
    pictures = "".join(
        f'<figure><img src="data:image/png;base64,{p["png"]}" alt="{e(p["label"] or "a sample")}">'
        f"<figcaption>{e(short(p['label'], 14))}</figcaption></figure>"
        for p in found["pictures"]
    )
    seen = f'<div class="mw-sample-strip">{pictures}</div><small>as the model will see them</small>' if pictures else ""
    arrays = ", ".join(
        f"<code>{e(v.get('name'))}</code> {e(v.get('dtype'))} {e(shape(v.get('shape', [])))}" for v in found["arrays"][:6]
    )
    said = f'<div class="mw-card mw-samples" data-say="{count} samples"><p>{" · ".join(parts)}</p>{seen}'
    return f"{said}<p><small>One sample: {arrays}</small></p>{messages(found['messages'])}</div>"
