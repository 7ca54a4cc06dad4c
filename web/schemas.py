"""JSON schemas that programs read without looking anything up: gradio's own refer to definitions one level too deep."""

from __future__ import annotations

from typing import Any

from gradio.components import Component


def inline(component: Component) -> None:
    """The component's schema from now on has no ``$ref``: each stands where it is used."""
    whole = component.api_info()
    component.api_info = lambda: _inlined(whole, whole.get("$defs", {}))  # type: ignore[method-assign]


def as_object(component: Component, description: str) -> None:
    """For a JSON component: gradio's own schema says ``"type": {}``, which is no valid JSON schema."""
    schema = {"type": "object", "description": description, "additionalProperties": True}
    component.api_info = lambda: schema  # type: ignore[method-assign]


def _inlined(node: Any, known: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(one, known) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: value for name, value in node.items() if name not in ("$ref", "$defs")}
    if "$ref" in node:
        found = known[node["$ref"].rpartition("/")[2]] | found
    return {name: _inlined(value, known) for name, value in found.items()}
