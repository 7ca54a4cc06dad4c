"""HTML of the visitor's gallery: thumbnails with their seeds, and buttons for all pictures."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from lib.reports.words import plural
from web.html import html, join

from .pictures import Picture


def gallery(pictures: Sequence[Picture], hours: int) -> Markup:
    head = html("<h3>Your pictures</h3><span>Only you see them. Kept for {}.</span>", plural(hours, "hour"))
    if not pictures:
        return _gallery(head, Markup('<p class="mw-idle">None yet.</p>'))
    tools = html(
        '<span class="mw-tools"><button type="button" class="mw-tool" data-pick="zip:">Download all (.zip)</button>'
        '<details class="mw-ask"><summary class="mw-tool">Delete all …</summary>'
        "<div>Delete {0}? This cannot be undone. "
        '<button type="button" class="mw-tool mw-danger" data-pick="clear:">Delete {0}</button></div></details></span>',
        plural(len(pictures), "picture"),
    )
    items = join(html("<li>{}</li>", _thumbnail(picture)) for picture in pictures)
    return _gallery(head + tools, html('<ul class="mw-thumbs">{}</ul>', items))


def _gallery(head: Markup, inside: Markup) -> Markup:
    return html('<div class="mw-gallery"><div class="mw-gallery-head">{}</div>{}</div>', head, inside)


def _thumbnail(picture: Picture) -> Markup:
    return html(
        '<button type="button" data-pick="show:{0.name}" data-name="{0.name}" data-file="{0.file}" '
        'title="{0.info[prompt]}"><img loading="lazy" width="{0.info[width]}" height="{0.info[height]}" '
        'src="{0.address}" alt="{0.info[prompt]}"><span class="mw-seed">{1}{0.info[seed]}</span></button>',
        picture,
        "stopped · " if "stopped" in picture.info else "",
    )
