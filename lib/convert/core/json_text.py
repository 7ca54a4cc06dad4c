"""Parse JSON from visitors strictly, with limits on size and depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lib.errors import InvalidFile

MAX_BYTES, MAX_DEPTH = 64 << 20, 60


def parse(data: bytes, what: str, most: int = MAX_BYTES) -> dict[str, Any]:
    """Parse ``data`` as a JSON object. Raises InvalidFile for invalid JSON, duplicate names, or excessive size or depth.

    ``what``: the name of the data in messages; ``most``: maximum bytes.
    """
    if len(data) > most:
        raise InvalidFile(f"{what} has {len(data):,} bytes; at most {most:,} are read.")
    try:
        parsed = json.loads(data.decode("utf-8"), object_pairs_hook=_object_without_duplicates)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError, numbers of 5,000 digits
        reason = str(error) if isinstance(error, _DuplicateName) else "it cannot be parsed"
        raise InvalidFile(f"{what} is not valid JSON: {reason}.") from None
    if not isinstance(parsed, dict):
        raise InvalidFile(f"{what} holds a {type(parsed).__name__}, not a JSON object.")
    if _is_deeper(parsed, MAX_DEPTH):
        raise InvalidFile(f"{what} is nested over {MAX_DEPTH} deep.")
    return parsed


class _DuplicateName(ValueError):
    pass


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise _DuplicateName(f"{name[:60]!r} occurs twice")
        result[name] = value
    return result


def _is_deeper(found: Any, levels: int) -> bool:
    if not isinstance(found, dict | list):
        return False
    return levels == 0 or any(_is_deeper(v, levels - 1) for v in (found.values() if isinstance(found, dict) else found))


def objects(found: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects in a JSON value, itself first."""
    if isinstance(found, dict):
        yield found
    for value in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from objects(value)
