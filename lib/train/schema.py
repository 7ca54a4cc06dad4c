"""Dataclasses to JSON and back. A child process or an older version wrote what is read, so nothing is taken unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Record = TypeVar("Record")
OPTIONAL = {"optional": True}  # metadata of a field that JSON leaves out where it is None


def key(name: str) -> dict[str, str]:
    """Metadata of a field that JSON calls otherwise, because ``name`` is a word of Python."""
    return {"key": name}


def to_json(value: Any) -> Any:
    """Records, and lists and dicts of them, as JSON values."""
    if is_dataclass(value):
        found = [(field, getattr(value, field.name)) for field in fields(value)]
        kept = [(field, one) for field, one in found if one is not None or not field.metadata.get("optional")]
        return {field.metadata.get("key", field.name): to_json(one) for field, one in kept}
    if isinstance(value, Mapping):
        return {name: to_json(one) for name, one in value.items()}
    return [to_json(one) for one in value] if isinstance(value, list | tuple) else value


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse(kind: type[Record], value: Any) -> Record | None:
    """``value`` as a ``kind``, a dataclass; None where a field is missing or does not fit. Unknown keys are left out."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError:
        return None


def parse_fields(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """For a ``kind`` whose fields all have defaults: a field whose value does not fit keeps its default."""
    try:
        return _adapter(kind).validate_python(values)
    except ValidationError as error:
        wrong = {one["loc"][0] for one in error.errors(include_url=False, include_context=False, include_input=False)}
        return _adapter(kind).validate_python({name: value for name, value in values.items() if name not in wrong})
