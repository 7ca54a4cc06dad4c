"""Widgets for the options of a route. There is one widget per option of any conversion; a route shows only its own."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .option_values import Specs, specs
from .page_shared import Shared, Updates

FIELD = "option_"


class Options:
    def __init__(self, shared: Shared) -> None:
        self.known: Specs = specs(shared.converter.conversions())
        self.widgets = {name: _widget(spec) for name, spec in self.known.items()}
        self.outputs = list(self.widgets.values())
        plain = {f"{FIELD}{name}": w for name, w in self.widgets.items() if not isinstance(w, gr.File)}
        shared.visit.form(**plain)

    def show(self, target: dict[str, Any] | None, kept: dict[str, Any] | None = None) -> Updates:
        """Return the updates that show the options of the target's route with the values in ``kept`` or their defaults."""
        route_options: Specs = {o["name"]: o for o in (target or {}).get("options", [])}
        return {w: _update(route_options.get(o), self.known[o], (kept or {}).get(o)) for o, w in self.widgets.items()}

    def kept(self, form: dict[str, Any]) -> dict[str, Any]:
        return {name: form.get(f"{FIELD}{name}") for name in self.widgets}

    def values(self, target: dict[str, Any], data: dict[Any, Any]) -> dict[str, Any]:
        """Return the values of the target's options that are neither None nor ""."""
        names = {o["name"] for o in target.get("options", [])}
        values = {name: data[widget] for name, widget in self.widgets.items() if name in names}
        return {name: value for name, value in values.items() if value is not None and value != ""}


def _widget(spec: dict[str, Any]) -> Any:
    """Return the widget of an option. It is hidden until a route has the option."""
    if spec["kind"] == "bool":
        return gr.Checkbox(label=spec["title"], visible=False)
    if spec["kind"] == "int":
        return gr.Number(label=spec["title"], precision=0, visible=False)
    if spec["kind"] == "choice":
        return gr.Dropdown(list(spec["choices"]), label=spec["title"], visible=False)
    if spec["kind"] == "text":
        return gr.Textbox(label=spec["title"], max_lines=1, visible=False)
    return gr.File(label=spec["title"], type="filepath", height=120, visible=False)


def _update(spec: dict[str, Any] | None, known: dict[str, Any], kept: Any = None) -> Any:
    """Return the update that shows the widget for ``spec`` or hides it for None.

    The widget has the kind of ``known``. An option of the same name but another kind is hidden.
    """
    if spec is None or spec["kind"] != known["kind"]:
        return gr.update(visible=False, value=None)
    properties = {"visible": True, "value": kept if _takes(spec, kept) else spec["default"], "label": spec["title"]}
    if spec["kind"] == "int":
        return gr.update(**properties, info=f"{spec['low']} to {spec['high']}")
    return gr.update(**properties, choices=list(spec["choices"])) if spec["kind"] == "choice" else gr.update(**properties)


def _takes(spec: dict[str, Any], value: Any) -> bool:
    """Return whether ``value``, from the browser's saved form, is valid for the option."""
    if spec["kind"] == "int":
        return isinstance(value, int) and not isinstance(value, bool) and spec["low"] <= value <= spec["high"]
    if spec["kind"] == "choice":
        return value in list(spec["choices"])
    if spec["kind"] == "text":
        return isinstance(value, str)
    return spec["kind"] == "bool" and isinstance(value, bool)
