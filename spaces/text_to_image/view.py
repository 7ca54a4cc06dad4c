"""HTML of running and finished pictures: the stage, the caption and buttons below it, the status line.

The ``data-pick`` of a button is ``verb:picture name``.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from PIL import Image

from lib.text_to_image.events import Loading, Queued, Step
from web.cards import bar, quarter
from web.html import html, join

from .picture_sessions import RunningPicture
from .pictures import Picture
from .words import left, took

IDLE = Markup("Your picture appears here.<br>Press <b>Generate</b>, or Enter in the prompt.")
NOTHING = Markup("&nbsp;")
FRAME = 520  # pixels: small pictures are enlarged by an integer factor, as long as they fit
LARGEST = 3  # times
MAX_TILES = 9
TOOLS = (("all", "Reuse all settings"), ("seed", "Reuse seed"), ("start", "Image to image"), ("drop", "Delete"))


def times(width: int, height: int) -> int:
    """Returns the integer factor by which a picture is enlarged for display."""
    return max(1, min(LARGEST, FRAME // max(width, height, 1)))


def idle(words: str = IDLE) -> Markup:
    return html('<div class="mw-stage"><p class="mw-idle">{}</p></div>', words)


def finished(picture: Picture, ready: bool = False) -> Markup:
    """``ready``: the picture has just been finished and is announced to screen readers."""
    prompt, width = picture.info["prompt"], picture.info["width"] * times(picture.info["width"], picture.info["height"])
    return html(
        '<div class="mw-stage" id="picture" data-name="{picture.name}"{say}>'
        '<button type="button" class="mw-shown" data-open title="Open large"><img class="mw-made{crisp}" '
        'style="width: {width}px" src="{picture.address}" alt="{prompt}"></button></div>',
        picture=picture,
        say=html(' data-say="Picture ready: {}"', prompt) if ready else "",
        crisp=" mw-crisp" if width > picture.info["width"] else "",
        width=width,
        prompt=prompt,
    )


def under_way(pictures: Sequence[RunningPicture], made: dict[str, Picture]) -> Markup:
    """Returns one preview, or tiles of several. ``made``: finished pictures by name."""
    if len(pictures) == 1:
        return _preview(pictures[0])
    ready = sum(running.ended for running in pictures)
    shown = sorted(sorted(pictures, key=lambda m: (m.ended, m.number))[:MAX_TILES], key=lambda m: m.number)
    tiles = join(_tile(running, made.get(running.name)) for running in shown)
    columns = math.ceil(math.sqrt(len(shown)))
    say = f"Drawing {len(pictures)} pictures, {ready} ready" if ready < len(pictures) else f"{len(pictures)} pictures ready"
    return html(
        '<div class="mw-stage" data-say="{}"><div class="mw-tiles" style="--columns: {}">{}</div></div>', say, columns, tiles
    )


def _preview(running: RunningPicture) -> Markup:
    """``data-say`` is announced by screen readers: not every step."""
    words, share, say = _progress(running)
    width = running.width * times(running.width, running.height)
    style = html(' style="width: {0}px; aspect-ratio: {1.width} / {1.height}"', width, running) if width else ""
    words = html('<div class="mw-words" data-say="{}">{}{}</div>', say, words, bar(share))
    return html('<div class="mw-stage">{}{}</div>', _image(running, style), words)


def _image(running: RunningPicture, style: Markup | str = "") -> Markup:
    if running.preview is None:
        return Markup()
    return html('<img class="mw-preview"{} alt="Preview" src="{}">', style, data_url(running.preview))


def _tile(running: RunningPicture, picture: Picture | None) -> Markup:
    if picture is not None:
        return html(
            '<button type="button" class="mw-tile" data-pick="show:{0.name}" data-name="{0.name}">'
            '<img class="mw-made" src="{0.address}" alt="{0.info[prompt]}"></button>',
            picture,
        )
    words, share, _ = _progress(running)
    return html('<div class="mw-tile">{}<div class="mw-words">{}{}</div></div>', _image(running), words, bar(share))


def _progress(running: RunningPicture) -> tuple[str, float, str]:
    """Returns the text, the share done, and the announcement for screen readers."""
    event = running.event
    if running.error is not None:
        return "No picture", 0.0, "No picture"
    if isinstance(event, Loading):
        return f"Loading model: {event.stage} ({event.seconds:.0f} s)", 0.0, "Loading the model"
    if isinstance(event, Queued):
        return f"Number {event.position} in the queue{left(event.seconds_to_go)}", 0.0, "Waiting in the queue"
    if isinstance(event, Step):
        share = event.step / event.steps
        return f"Step {event.step} of {event.steps}{left(event.seconds_to_go)}", share, quarter("Drawing", share)
    return "Starting", 0.0, "Drawing"


def about(picture: Picture | None, said: str = "") -> Markup:
    """Returns the caption and buttons below the stage. Without a picture the caption is ``said``."""
    if picture is None:
        caption, off, name = said or NOTHING, Markup(" disabled"), ""
        download = Markup('<a class="mw-tool" role="link" aria-disabled="true">Download PNG</a>')
    else:
        caption, off, name = _caption(picture.info), Markup(), picture.name
        download = html('<a class="mw-tool" href="{0.address}" download="{0.file}">Download PNG</a>', picture)
    buttons = join(
        html('<button type="button" class="mw-tool" data-pick="{}:{}"{}>{}</button>', verb, name, off, label)
        for verb, label in TOOLS
    )
    notes = join(html("<li>{}</li>", note) for note in (picture.info.get("notes") or () if picture else ()))
    notes = html('<ul class="mw-notes">{}</ul>', notes) if notes else notes
    return html('<p class="mw-caption">{}</p>{}<div class="mw-tools">{}{}</div>', caption, notes, download, buttons)


def _caption(info: dict[str, Any]) -> Markup:
    size = f"{info['width']} × {info['height']} px"
    if times(info["width"], info["height"]) > 1:
        size += ", shown enlarged"
    stopped = info.get("stopped")
    stop_note = f"Stopped at step {stopped['step']} of {stopped['steps']}" if stopped else ""
    parts = [html('<b data-say="{0}">{0}</b>', stop_note), size] if stop_note else [size]
    return join([*parts, f"seed {info['seed']}", took(info.get("seconds", 0))], " · ")


def status_line(status: dict[str, Any]) -> Markup:
    """Returns the line at the top of the tab: the model and its device, or the loading progress."""
    if status["status"] == "ready":
        words = html("<b>{model}</b> is ready on {device} ({dtype})", **status)
        if status["stage"]:
            words += f" · {status['stage']}"
    elif status["status"] == "failed":
        words = status["error"]
    else:
        words = f"Loading model: {status['stage'] or 'starting'} …"
    return html('<div class="mw-status"><span class="mw-dot {}"></span><span>{}</span></div>', status["status"], words)


def data_url(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
