"""Options of a route as widgets. There is one widget for each option of any conversion; a route shows its own."""

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
        """Shows the options of the target's route with the values in ``kept``, or their defaults."""
        wanted: Specs = {o["name"]: o for o in (target or {}).get("options", [])}
        return {w: _update(wanted.get(o), self.known[o], (kept or {}).get(o)) for o, w in self.widgets.items()}

    def kept(self, form: dict[str, Any]) -> dict[str, Any]:
        return {name: form.get(f"{FIELD}{name}") for name in self.widgets}

    def values(self, target: dict[str, Any], data: dict[Any, Any]) -> dict[str, Any]:
        """Values of the target's options that are set, that is neither None nor ""."""
        wanted = {o["name"] for o in target.get("options", [])}
        found = {name: data[widget] for name, widget in self.widgets.items() if name in wanted}
        return {name: value for name, value in found.items() if value is not None and value != ""}


def _widget(spec: dict[str, Any]) -> Any:
    """Hidden until a route has this option."""
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
    """The widget for ``spec``; None hides it. Options of one name may differ in kind: the first one's kind counts."""
    if spec is None or spec["kind"] != known["kind"]:
        return gr.update(visible=False, value=None)
    same = {"visible": True, "value": kept if _takes(spec, kept) else spec["default"], "label": spec["title"]}
    if spec["kind"] == "int":
        return gr.update(**same, info=f"{spec['low']} to {spec['high']}")
    return gr.update(**same, choices=list(spec["choices"])) if spec["kind"] == "choice" else gr.update(**same)


def _takes(spec: dict[str, Any], value: Any) -> bool:
    """Whether the option may have this value from the browser's saved form."""
    if spec["kind"] == "int":
        return isinstance(value, int) and not isinstance(value, bool) and spec["low"] <= value <= spec["high"]
    if spec["kind"] == "choice":
        return value in list(spec["choices"])
    if spec["kind"] == "text":
        return isinstance(value, str)
    return spec["kind"] == "bool" and isinstance(value, bool)
