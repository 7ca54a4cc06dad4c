"""What is under way and what is finished as HTML: the stage, the words and buttons under it, the status line.

Everything that comes from a visitor or a model is escaped. A ``data-pick`` of a button is ``verb:name of a picture``.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from lib.text_to_image.events import Loading, Queued, Step
from web.cards import bar, e, quarter

from .desk import Making
from .pictures import Picture
from .words import left, took

IDLE = "Your picture appears here.<br>Press <b>Generate</b>, or Enter in the prompt."
FRAME = 520  # pixels: a small picture is enlarged by a whole number, as long as it fits
LARGEST = 3  # times
MOST_TILES = 9
TOOLS = (("all", "Reuse all settings"), ("seed", "Reuse seed"), ("start", "Image to image"), ("drop", "Delete"))


def times(width: int, height: int) -> int:
    """How many times as large as it is a picture is shown."""
    return max(1, min(LARGEST, FRAME // max(width, height, 1)))


def idle(words: str = IDLE) -> str:
    return f'<div class="mw-stage"><p class="mw-idle">{words}</p></div>'


def finished(picture: Picture, ready: bool = False) -> str:
    """``ready``: it has just come, and is spoken."""
    prompt, width = e(picture.info["prompt"]), picture.info["width"] * times(picture.info["width"], picture.info["height"])
    say = f' data-say="Picture ready: {prompt}"' if ready else ""
    crisp = " mw-crisp" if width > picture.info["width"] else ""
    return (
        f'<div class="mw-stage" id="picture" data-name="{picture.name}"{say}>'
        f'<button type="button" class="mw-shown" data-open title="Open large"><img class="mw-made{crisp}" '
        f'style="width: {width}px" src="{picture.address}" alt="{prompt}"></button></div>'
    )


def under_way(makings: Sequence[Making], made: dict[str, Picture]) -> str:
    """One preview, or tiles of several. ``made``: those of them that are pictures already, by name."""
    if len(makings) == 1:
        return _preview(makings[0])
    ready = sum(making.ended for making in makings)
    shown = sorted(sorted(makings, key=lambda m: (m.ended, m.number))[:MOST_TILES], key=lambda m: m.number)
    tiles = "".join(_tile(making, made.get(making.name)) for making in shown)
    columns = math.ceil(math.sqrt(len(shown)))
    say = f"Drawing {len(makings)} pictures, {ready} ready" if ready < len(makings) else f"{len(makings)} pictures ready"
    return f'<div class="mw-stage" data-say="{say}"><div class="mw-tiles" style="--columns: {columns}">{tiles}</div></div>'


def _preview(making: Making) -> str:
    """``data-say`` is what a screen reader speaks: not every step."""
    words, share, say = _progress(making)
    width = making.width * times(making.width, making.height)
    style = f'style="width: {width}px; aspect-ratio: {making.width} / {making.height}"' if width else ""
    image = f'<img class="mw-preview" {style} alt="Preview" src="{data_url(making.preview)}">' if making.preview else ""
    return f'<div class="mw-stage">{image}<div class="mw-words" data-say="{say}">{e(words)}{bar(share)}</div></div>'


def _tile(making: Making, picture: Picture | None) -> str:
    if picture is not None:
        return (
            f'<button type="button" class="mw-tile" data-pick="show:{picture.name}" data-name="{picture.name}">'
            f'<img class="mw-made" src="{picture.address}" alt="{e(picture.info["prompt"])}"></button>'
        )
    words, share, _ = _progress(making)
    image = f'<img class="mw-preview" alt="Preview" src="{data_url(making.preview)}">' if making.preview else ""
    return f'<div class="mw-tile">{image}<div class="mw-words">{e(words)}{bar(share)}</div></div>'


def _progress(making: Making) -> tuple[str, float, str]:
    """Words, share done, and what is spoken."""
    event = making.event
    if making.error is not None:
        return "No picture", 0.0, "No picture"
    if isinstance(event, Loading):
        return f"Loading model: {event.stage} ({event.seconds:.0f} s)", 0.0, "Loading the model"
    if isinstance(event, Queued):
        return f"Number {event.position} in the queue{left(event.seconds_to_go)}", 0.0, "Waiting in the queue"
    if isinstance(event, Step):
        share = event.step / event.steps
        return f"Step {event.step} of {event.steps}{left(event.seconds_to_go)}", share, quarter("Drawing", share)
    return "Starting", 0.0, "Drawing"


def about(picture: Picture | None, said: str = "") -> str:
    """Under the stage: what it is, and what can be done with it. Without a picture ``said`` stands there."""
    if picture is None:
        caption, off, name = e(said) or "&nbsp;", " disabled", ""
        download = '<a class="mw-tool" role="link" aria-disabled="true">Download PNG</a>'
    else:
        caption, off, name = _caption(picture.info), "", picture.name
        download = f'<a class="mw-tool" href="{picture.address}" download="{picture.file}">Download PNG</a>'
    buttons = "".join(
        f'<button type="button" class="mw-tool" data-pick="{verb}:{name}"{off}>{label}</button>' for verb, label in TOOLS
    )
    notes = "".join(f"<li>{e(note)}</li>" for note in (picture.info.get("notes") or () if picture else ()))
    notes = f'<ul class="mw-notes">{notes}</ul>' if notes else ""
    return f'<p class="mw-caption">{caption}</p>{notes}<div class="mw-tools">{download}{buttons}</div>'


def _caption(info: dict[str, Any]) -> str:
    size = f"{info['width']} × {info['height']} px"
    if times(info["width"], info["height"]) > 1:
        size += ", shown enlarged"
    stopped = info.get("stopped")
    said = f"Stopped at step {stopped['step']} of {stopped['steps']}" if stopped else ""
    parts = [f'<b data-say="{said}">{said}</b>' if said else "", size, f"seed {info['seed']}", took(info.get("seconds", 0))]
    return " · ".join(part for part in parts if part)


def status_line(status: dict[str, Any]) -> str:
    """One line on top of the tab: which model, where, or how far it is."""
    if status["status"] == "ready":
        words = f"<b>{e(status['model'])}</b> is ready on {e(status['device'])} ({e(status['dtype'])})"
        if status["stage"]:
            words += f" · {e(status['stage'])}"
    elif status["status"] == "failed":
        words = e(status["error"])
    else:
        words = f"Loading model: {e(status['stage'] or 'starting')} …"
    return f'<div class="mw-status"><span class="mw-dot {status["status"]}"></span><span>{words}</span></div>'


def data_url(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
