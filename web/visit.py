"""One tab's memory of its visitor: the form in the browser, the last result on the server, both back after a reload.

A tab finds its Visit in ``self.visit`` when ``build()`` is called. There it names the widgets of its form
(``visit.form``), says how a kept value is shown again (``visit.restore``), and keeps one whenever there is a new result
(``visit.keep``). The shell connects the rest. Knows widgets; does not know what a value is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from .visits import Visits, is_key

SECRET = "model-workbench"  # the browser's storage is the visitor's own: this hides nothing
MAX_TEXT = 100_000  # characters of a text field that are taken back
HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A page that has just been opened. ``form`` is as the browser kept it, unchecked; ``value`` is None for nothing."""

    key: str
    form: dict[str, Any]
    value: Any


Show = Callable[[Arrival], dict[Component, Any] | Awaitable[dict[Component, Any]]]


def visitor() -> gr.BrowserState:
    """The component with the visitor's key: one a page, for all tabs."""
    return gr.BrowserState("", storage_key="model-workbench-visitor", secret=SECRET)


class Visit:
    """``key`` is the component with the visitor's key, for handlers that want it among their inputs."""

    def __init__(self, slug: str, visits: Visits, key: gr.BrowserState) -> None:
        self.slug, self.key = slug, key
        self._visits = visits
        self._widgets: dict[str, Component] = {}
        self._show: Show | None = None
        self._outputs: list[Component] = []
        self._all: list[Component] = []  # of the form and outputs, each once

    def form(self, **widgets: Component) -> None:
        """The values of these come back with the page, as far as the widgets still take them. No files."""
        self._widgets |= widgets

    def restore(self, show: Show, outputs: Sequence[Component]) -> None:
        """``show`` has the page updates (by component, some of ``outputs``) for an Arrival. They win over the form."""
        self._show, self._outputs = show, list(outputs)

    def keep(self, http: gr.Request, value: Any) -> None:
        """``value`` is what this page shows from now on, in place of the one before; None is nothing."""
        self._visits.keep(http.session_hash or "", self.slug, value)

    def connect(self) -> None:
        """Once all is built: saves the form whenever it changes, and brings everything back when a page is opened."""
        form = gr.BrowserState({}, storage_key=f"model-workbench-{self.slug}", secret=SECRET)
        if self._widgets:
            # before the form is back, a widget's first value must not take the place of the kept one
            names = json.dumps(list(self._widgets))
            save = f"(kept, ...values) => workbench.form({json.dumps(self.slug)}, kept, {names}, values)"
            changes = [widget.change for widget in self._widgets.values()]
            gr.on(changes, None, [form, *self._widgets.values()], form, js=save, queue=False, **HIDDEN)
        page = gr.context.Context.root_block
        assert page is not None
        self._all = list(dict.fromkeys([*self._widgets.values(), *self._outputs]))
        back = page.load(self._back, [self.key, form], self._all, queue=False, **HIDDEN)  # one request, no stream
        back.then(None, None, None, js=f"() => workbench.settled({json.dumps(self.slug)})", queue=False, **HIDDEN)

    async def _back(self, key: str, form: Any, http: gr.Request) -> Any:
        form = form if isinstance(form, dict) else {}
        value = None
        if is_key(key):
            self._visits.arrive(http.session_hash or "", key)
            value = self._visits.recall(http.session_hash or "", self.slug)
        updates = {
            w: gr.update(value=form[name]) for name, w in self._widgets.items() if name in form and fits(w, form[name])
        }
        if self._show is not None:
            found = self._show(Arrival(key if is_key(key) else "", form, value))
            updates |= await found if isinstance(found, Awaitable) else found
        return updates or (gr.skip() if len(self._all) == 1 else [gr.skip()] * len(self._all))  # gradio takes no empty dict


def fits(widget: Component, value: Any) -> bool:
    """Whether ``widget`` takes a value that the browser kept: a setting or a list may have changed since."""
    if isinstance(widget, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(widget, gr.Textbox):
        return isinstance(value, str) and len(value) <= MAX_TEXT
    if isinstance(widget, gr.Dropdown | gr.Radio):
        free = isinstance(widget, gr.Dropdown) and widget.allow_custom_value and isinstance(value, str | None)
        return free or any(value == choice and type(value) is type(choice) for _, choice in widget.choices)
    if isinstance(widget, gr.Slider | gr.Number):
        if value is None:
            return isinstance(widget, gr.Number)
        plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        low = -math.inf if widget.minimum is None else widget.minimum
        high = math.inf if widget.maximum is None else widget.maximum
        return plain and low <= value <= high
    return False
