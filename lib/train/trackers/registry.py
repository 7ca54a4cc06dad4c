"""The protocol of a tracker, and the table of those that there are. Knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Skips the kinds of value that it has no place for."""

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """``values`` by tag (``train/loss``); ``step`` counts optimizer steps."""
        ...

    def close(self) -> None:
        """Writes what is pending. A second call does nothing."""
        ...


Opener = Callable[[Path, str, int], Tracker]  # (folder of the run, its name, first step)

OPENERS: dict[str, Opener] = {}


def register(name: str) -> Callable[[Opener], Opener]:
    """The decorated function opens the tracker ``name``. Raises ValueError for a second one."""

    def add(opener: Opener) -> Opener:
        if name in OPENERS:
            raise ValueError(f"a second tracker {name!r}: {opener.__module__}; the first: {OPENERS[name].__module__}")
        OPENERS[name] = opener
        return opener

    return add
