"""What the parts of the page share: the converter, what the visitor has, the jobs under way, how an event is wired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from lib.convert.service.converter import Converter
from web.folders import Folders
from web.stop import listen
from web.under_way import UnderWay
from web.visit import Visit

from .subject import Work

Updates = dict[Any, Any]
Values = AsyncIterator[Updates]
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
# brings what has just begun, or ended, into view; nothing moves where it is seen already
LOOK = """() => setTimeout(() => {
  const card = document.querySelector('#convert-verdict'), box = card?.getBoundingClientRect();
  if (!box?.height || (box.top >= 0 && box.bottom <= innerHeight)) return;
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  card.scrollIntoView({ block: box.height > innerHeight ? 'start' : 'nearest', behavior: still ? 'auto' : 'smooth' });
}, WAIT)"""


class Shared:
    """``work`` is what the page shows, or None: a described source, its samples, how its conversions ended."""

    def __init__(self, converter: Converter, folders: Folders, visit: Visit) -> None:
        self.converter, self.folders, self.visit = converter, folders, visit
        self.work = gr.State(None)
        self.under_way = UnderWay()
        self.stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=70, render=False)

    def on(self, triggers: list[Any], fn: Callable[..., Any], given: Any, outputs: Any) -> Any:
        """A handler that may take a while: Stop can be pressed meanwhile."""
        return listen(self.stop, self.under_way.busy, triggers, fn, given, outputs, **QUIET)


def look(milliseconds: int) -> str:
    return LOOK.replace("WAIT", str(milliseconds))


def opened(work: Work | None) -> Work:
    """Raises gr.Error where there is nothing."""
    if work is None:
        raise gr.Error("Choose a model first.", print_exception=False)
    return work
