"""JSON from visitors: strict, of bounded size and depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lib.errors import InvalidFile

MAX_BYTES, MAX_DEPTH = 64 << 20, 60


def parse(data: bytes, what: str, most: int = MAX_BYTES) -> dict[str, Any]:
    """The object in ``data``. Raises InvalidFile, which calls it ``what``: no JSON, a name twice, too big or deep."""
    if len(data) > most:
        raise InvalidFile(f"{what} has {len(data):,} bytes; at most {most:,} are read.")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_object_without_duplicates)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError, numbers of 5,000 digits
        why = str(error) if isinstance(error, _DuplicateName) else "it cannot be parsed"
        raise InvalidFile(f"{what} is no proper JSON: {why}.") from None
    if not isinstance(found, dict):
        raise InvalidFile(f"{what} holds a {type(found).__name__}, not an object of names and values.")
    if _is_deeper(found, MAX_DEPTH):
        raise InvalidFile(f"{what} nests over {MAX_DEPTH} deep.")
    return found


class _DuplicateName(ValueError):
    pass


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in pairs:
        if name in out:
            raise _DuplicateName(f"{name[:60]!r} comes twice")
        out[name] = value
    return out


def _is_deeper(found: Any, levels: int) -> bool:
    if not isinstance(found, dict | list):
        return False
    return levels == 0 or any(_is_deeper(v, levels - 1) for v in (found.values() if isinstance(found, dict) else found))


def objects(found: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, itself first."""
    if isinstance(found, dict):
        yield found
    for value in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from objects(value)
