"""What the parts of the page share: the converter, the tab's state, running jobs, and the registration of handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from lib.convert.service.converter import Converter
from web.folders import Folders
from web.page_jobs import PageJobs
from web.stop_button import listen
from web.visit import Visit

from .subject import TabState

Updates = dict[Any, Any]
Values = AsyncIterator[Updates]
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
# scrolls to the verdict card unless it is already in view
SCROLL = """() => setTimeout(() => {
  const card = document.querySelector('#convert-verdict'), box = card?.getBoundingClientRect();
  if (!box?.height || (box.top >= 0 && box.bottom <= innerHeight)) return;
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  card.scrollIntoView({ block: box.height > innerHeight ? 'start' : 'nearest', behavior: still ? 'auto' : 'smooth' });
}, WAIT)"""


class Shared:
    """``state`` is the TabState that the page shows, or None."""

    def __init__(self, converter: Converter, folders: Folders, visit: Visit) -> None:
        self.converter, self.folders, self.visit = converter, folders, visit
        self.state = gr.State(None)
        self.under_way = PageJobs()
        self.stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=70, render=False)

    def on(self, triggers: list[Any], fn: Callable[..., Any], given: Any, outputs: Any) -> Any:
        """Register a handler that may take long. The Stop button is enabled while it runs."""
        return listen(self.stop, self.under_way.busy, triggers, fn, given, outputs, **QUIET)


def scroll_script(milliseconds: int) -> str:
    return SCROLL.replace("WAIT", str(milliseconds))


def require_open(state: TabState | None) -> TabState:
    """Return ``state``. Raises gr.Error if no model is open."""
    if state is None:
        raise gr.Error("Choose a model first.", print_exception=False)
    return state
