"""The target part of the page: one choice in three groups, further targets to compare, and the route."""

from __future__ import annotations

from typing import Any

import gradio as gr

from web.cards import idle
from web.html import Html

from . import view_target
from .page_shared import Shared, Updates
from .subject import Opened
from .targets import GROUPS, first, grouped

FIELD = "target_"


class Targets:
    def __init__(self, shared: Shared) -> None:
        with gr.Column(elem_id="convert-targets", min_width=0):
            self.groups = [gr.Radio([], label=f"Convert to · {name}", visible=False) for name in GROUPS]
        with gr.Accordion("Compare several targets", open=False) as self.several:
            self.also = gr.CheckboxGroup(
                [], label="Also convert to", info="one after another, with one table of results", elem_id="convert-also"
            )
        self.cannot = Html(padding=False)
        self.outputs = [*self.groups, self.several, self.also, self.cannot]
        shared.visit.form(**{f"{FIELD}{k}": radio for k, radio in enumerate(self.groups)})

    def build_way(self) -> None:
        self.way = Html(padding=False, elem_id="convert-way")

    def show(self, now: Opened, choice: str | None) -> Updates:
        """Return the updates that show all targets of ``now`` and select ``choice``."""
        targets, format = now.about.get("targets", []), now.about["format"]
        updates: Updates = {}
        for radio, group in zip(self.groups, grouped(targets, format).values(), strict=True):
            choices = [(view_target.choice(t), t["target"]) for t in group]
            value = choice if choice in [t["target"] for t in group] else None
            updates[radio] = gr.Radio(choices, value=value, visible=bool(group))
        all_choices = [(t["title"], t["target"]) for group in grouped(targets, format).values() for t in group]
        message = "" if targets else idle("This installation cannot convert this model.")
        return updates | {
            self.several: gr.Accordion(visible=len(all_choices) > 1),
            self.also: gr.CheckboxGroup(all_choices, value=[]),
            self.cannot: message + view_target.blocked(now.about.get("blocked") or {}),
        }

    def pick(self, choice: str, now: Opened) -> Updates:
        """Return the updates that select ``choice`` and clear the other groups."""
        groups = grouped(now.about.get("targets", []), now.about["format"]).values()
        values = [choice if any(t["target"] == choice for t in group) else None for group in groups]
        return {radio: gr.Radio(value=value) for radio, value in zip(self.groups, values, strict=True)}

    def route(self, now: Opened, choice: str | None, samples: bool) -> Updates:
        target = now.target(choice)
        return {self.way: view_target.route(target, samples) if target else ""}

    def chosen(self, data: dict[Any, Any]) -> str | None:
        return next((data[radio] for radio in self.groups if data[radio]), None)

    def kept(self, form: dict[str, Any], now: Opened) -> str | None:
        """Return the target from the browser's saved form if it is still available, else the default."""
        names = [form.get(f"{FIELD}{k}") for k in range(len(GROUPS))]
        saved = next((name for name in names if isinstance(name, str) and now.target(name)), None)
        return saved or first(now.about.get("targets", []))
