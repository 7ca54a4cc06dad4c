"""Reads JSON into dataclasses. Nothing is taken unchecked: a child process or an older version of the app wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Record = TypeVar("Record")


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
