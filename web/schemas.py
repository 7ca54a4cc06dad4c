"""JSON schemas without references, for API clients.

The references in Gradio's own schemas point to definitions that are nested one level too deep.
"""

from __future__ import annotations

from typing import Any

from gradio.components import Component


def inline(component: Component) -> None:
    """Replaces the component's schema by one without ``$ref``: definitions are inlined where they are used."""
    schema = component.api_info()
    component.api_info = lambda: _inlined(schema, schema.get("$defs", {}))  # type: ignore[method-assign]


def as_object(component: Component, description: str) -> None:
    """Sets the schema of a JSON component. Gradio's own has ``"type": {}``, which is not valid JSON Schema."""
    schema = {"type": "object", "description": description, "additionalProperties": True}
    component.api_info = lambda: schema  # type: ignore[method-assign]


def _inlined(node: Any, known: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, known) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {name: value for name, value in node.items() if name not in ("$ref", "$defs")}
    if "$ref" in node:
        schema = known[node["$ref"].rpartition("/")[2]] | schema
    return {name: _inlined(value, known) for name, value in schema.items()}
