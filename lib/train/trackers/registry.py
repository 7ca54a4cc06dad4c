"""The tracker protocol and the registry of trackers. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Logs values, and skips the types that it does not support."""

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Log ``values`` by tag (``train/loss``); ``step`` counts optimizer steps."""
        ...

    def close(self) -> None:
        """Flush pending writes. A second call does nothing."""
        ...


Opener = Callable[[Path, str, int], Tracker]  # (folder of the run, its name, first step)

OPENERS: dict[str, Opener] = {}


def register(name: str) -> Callable[[Opener], Opener]:
    """Register the decorated function as the opener of the tracker ``name``. Raises ValueError for a duplicate name."""

    def add(opener: Opener) -> Opener:
        if name in OPENERS:
            raise ValueError(f"a second tracker {name!r}: {opener.__module__}; the first: {OPENERS[name].__module__}")
        OPENERS[name] = opener
        return opener

    return add
