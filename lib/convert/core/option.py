"""An option of a conversion, as the page and the API offer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """``kind``: bool, int, choice, text, file. ``low`` and ``high`` bound an int; ``choices`` are a choice's."""

    name: str
    title: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
