"""The visitor's pictures in rows, each with its seed, and what can be done with all of them, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from web.cards import e

from .pictures import Picture
from .words import many


def gallery(pictures: Sequence[Picture], hours: int) -> str:
    head = f"<h3>Your pictures</h3><span>Only you see them. Kept for {many(hours, 'hour')}.</span>"
    if not pictures:
        return f'<div class="mw-gallery"><div class="mw-gallery-head">{head}</div><p class="mw-idle">None yet.</p></div>'
    number = many(len(pictures), "picture")
    tools = (
        '<span class="mw-tools"><button type="button" class="mw-tool" data-pick="zip:">Download all (.zip)</button>'
        '<details class="mw-ask"><summary class="mw-tool">Delete all …</summary>'
        f"<div>Delete {number}? This cannot be undone. "
        f'<button type="button" class="mw-tool mw-danger" data-pick="clear:">Delete {number}</button></div></details></span>'
    )
    items = "".join(f"<li>{_thumbnail(picture)}</li>" for picture in pictures)
    return (
        f'<div class="mw-gallery"><div class="mw-gallery-head">{head}{tools}</div><ul class="mw-thumbs">{items}</ul></div>'
    )


def _thumbnail(picture: Picture) -> str:
    prompt, seed = e(picture.info["prompt"]), picture.info["seed"]
    stopped = "stopped · " if "stopped" in picture.info else ""
    return (
        f'<button type="button" data-pick="show:{picture.name}" data-name="{picture.name}" data-file="{picture.file}" '
        f'title="{prompt}"><img loading="lazy" width="{picture.info["width"]}" height="{picture.info["height"]}" '
        f'src="{picture.address}" alt="{prompt}"><span class="mw-seed">{stopped}{seed}</span></button>'
    )
