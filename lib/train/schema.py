"""Converts dataclasses to JSON and back. The input may come from a child process or an older version, so it is validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Record = TypeVar("Record")
OPTIONAL = {"optional": True}  # metadata of a field that is omitted from the JSON if it is None


def key(name: str) -> dict[str, str]:
    """Returns the metadata of a field whose JSON key is ``name``, for keys such as ``from`` that Python reserves."""
    return {"key": name}


def to_json(value: Any) -> Any:
    """Convert dataclasses, and lists and dicts of them, to JSON values."""
    if is_dataclass(value):
        pairs = [(field, getattr(value, field.name)) for field in fields(value)]
        present = [(field, item) for field, item in pairs if item is not None or not field.metadata.get("optional")]
        return {field.metadata.get("key", field.name): to_json(item) for field, item in present}
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    return [to_json(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse(kind: type[Record], value: Any) -> Record | None:
    """Returns ``value`` as the dataclass ``kind``, or None if a field is missing or invalid. Ignores unknown keys."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError:
        return None


def parse_fields(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Parse a ``kind`` whose fields all have defaults: an invalid field gets its default."""
    try:
        return _adapter(kind).validate_python(values)
    except ValidationError as error:
        invalid = {
            problem["loc"][0] for problem in error.errors(include_url=False, include_context=False, include_input=False)
        }
        return _adapter(kind).validate_python({name: value for name, value in values.items() if name not in invalid})
