"""Events as HTML: the stage (preview, progress, queue) and the status line. Text is escaped."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from PIL import Image

from lib.text_to_image.events import Event, Loading, Queued, Step
from web.cards import bar, quarter

IDLE = "Your picture appears here.<br>Press <b>Generate</b>, or Enter in the prompt."


def seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f" · {value:.0f} s to go" if value >= 1 else " · under a second to go"


def idle(words: str = IDLE) -> str:
    return f'<div class="mw-stage"><p class="mw-idle">{words}</p></div>'


def stage(event: Event) -> str:
    """The stage while a picture is under way. ``data-say`` is what a screen reader speaks: not every step."""
    if isinstance(event, Loading):
        words, share, picture = f"Loading the model: {event.stage} ({event.seconds:.0f} s)", 0.0, None
        say = "Loading the model"
    elif isinstance(event, Queued):
        words, share, picture = f"Waiting, number {event.position} in the queue{seconds(event.seconds_to_go)}", 0.0, None
        say = "Waiting in the queue"
    elif isinstance(event, Step):
        words = f"Step {event.step} of {event.steps}{seconds(event.seconds_to_go)}"
        share, picture = event.step / event.steps, event.preview
        say = quarter("Drawing", share)
    else:
        return idle()
    image = f'<img class="mw-preview" alt="Preview" src="{data_url(picture)}">' if picture else ""
    return (
        f'<div class="mw-stage">{image}<div class="mw-words" data-say="{say}">{html.escape(words)}{bar(share)}</div></div>'
    )


def shown(prompt: str, ready: bool) -> str:
    """The words for a picture, which itself has none: for its alt text and, when it has just come, to be spoken."""
    words = html.escape(prompt)
    say = f' data-say="Picture ready: {words}"' if ready else ""
    return f'<span hidden data-alt="{words}"{say}></span>'


def status_line(status: dict[str, Any]) -> str:
    """One line on top of the tab: which model, where, or how far it is."""
    if status["status"] == "ready":
        words = f"<b>{html.escape(status['model'])}</b> is ready on {html.escape(status['device'])} ({status['dtype']})"
        if status["stage"]:
            words += f" · {html.escape(status['stage'])}"
    elif status["status"] == "failed":
        words = html.escape(status["error"])
    else:
        words = f"The page is up; the model follows: {html.escape(status['stage'] or 'starting')} …"
    return f'<div class="mw-status"><span class="mw-dot {status["status"]}"></span><span>{words}</span></div>'


def data_url(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
