"""Restores a tab after a reload: the form from the browser, the last result from the server.

A tab finds its Visit in ``self.visit`` when ``build()`` is called. There it registers the widgets of its form
(``visit.form``) and how a kept value is shown again (``visit.restore``); later it keeps every new result
(``visit.keep``). The shell connects the events. Knows widgets, but not what the values are.
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

SECRET = "model-workbench"  # not secret: the storage belongs to the visitor's browser
MAX_TEXT = 100_000  # longer text fields are not restored
HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A page that was just opened.

    ``form`` is as stored in the browser, unchecked; ``value`` is None if nothing is kept.
    """

    key: str
    form: dict[str, Any]
    value: Any


Show = Callable[[Arrival], dict[Component, Any] | Awaitable[dict[Component, Any]]]


def visitor() -> gr.BrowserState:
    """Returns the component with the visitor's key: one per page, shared by all tabs."""
    return gr.BrowserState("", storage_key="model-workbench-visitor", secret=SECRET)


class Visit:
    """``key`` is the component with the visitor's key, for handlers that need it as an input."""

    def __init__(self, slug: str, visits: Visits, key: gr.BrowserState) -> None:
        self.slug, self.key = slug, key
        self._visits = visits
        self._widgets: dict[str, Component] = {}
        self._show: Show | None = None
        self._outputs: list[Component] = []
        self._all: list[Component] = []  # form and outputs, without duplicates

    def form(self, **widgets: Component) -> None:
        """Registers widgets whose values are restored, if the widgets still accept them. Not for files."""
        self._widgets |= widgets

    def restore(self, show: Show, outputs: Sequence[Component]) -> None:
        """Registers ``show``, which returns updates of some ``outputs`` for an Arrival.

        They take precedence over the form.
        """
        self._show, self._outputs = show, list(outputs)

    def keep(self, http: gr.Request, value: Any) -> None:
        """Keeps ``value`` as the result of this page, in place of the previous one. None removes it."""
        self._visits.keep(http.session_hash or "", self.slug, value)

    def connect(self) -> None:
        """Connects the events: saves the form when it changes, and restores form and result when a page opens.

        Call once everything is built.
        """
        form = gr.BrowserState({}, storage_key=f"model-workbench-{self.slug}", secret=SECRET)
        if self._widgets:
            # a widget's initial value must not overwrite the kept one before the form is restored
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
            shown = self._show(Arrival(key if is_key(key) else "", form, value))
            updates |= await shown if isinstance(shown, Awaitable) else shown
        # Gradio does not accept an empty dict
        return updates or (gr.skip() if len(self._all) == 1 else [gr.skip()] * len(self._all))


def fits(widget: Component, value: Any) -> bool:
    """Whether ``widget`` still accepts a value from the browser: a setting or list of choices may have changed since."""
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
        finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        low = -math.inf if widget.minimum is None else widget.minimum
        high = math.inf if widget.maximum is None else widget.maximum
        return finite and low <= value <= high
    return False
