"""Description of a conversion option, shared by the page and the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option. ``kind``: bool, int, choice, text or file. ``low``, ``high``: inclusive range of an int."""

    name: str
    title: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
