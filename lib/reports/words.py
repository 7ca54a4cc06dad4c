"""Problems, sizes, shapes and counts in words: what every report says alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_SHOWN = 12  # sizes in a sentence


@dataclass(slots=True)
class Problem:
    """``severity`` is error (the model is not valid), warning or info; ``fix`` says what to do."""

    severity: str
    where: str
    message: str
    fix: str = ""
    rule: str = ""

    def __post_init__(self) -> None:
        """Names in them are the upload's, of any length."""
        self.where, self.message = cut(self.where, 300), cut(self.message, 1000)


def cut(text: str, most: int) -> str:
    """At most ``most`` characters of it, and how many there were."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


PREFIXES = ("", "k", "M", "G", "T")


def human(value: float | None, unit: str = "") -> str:
    """1234567 → "1.23 M"."""
    if value is None:
        return "unknown"
    step = 0
    while abs(value) >= 1000 and step < 4:
        value, step = value / 1000, step + 1
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{text} {PREFIXES[step]}{unit}".strip()


def size(value: float | None) -> str:
    """Bytes as every page, report and message shows them: 46747648 → "46.7 MB". A MB is 10^6 bytes, as on the Hub."""
    return human(value, "B")


def shape_text(shape: list[Any] | None) -> str:
    if shape is None:
        return "any shape"
    return " × ".join("?" if d is None else str(d) for d in shape) or "scalar"


def plural(n: int, word: str) -> str:
    return f"{n:,} {word}{'s' * (n != 1)}"


def exact(value: int) -> str:
    return f"{value:,}" if value < 1000 else f"{human(value)} ({value:,})"


def note(chosen: dict[str, int], given: dict[str, int]) -> str:
    """Which sizes are the caller's and which are only plausible."""
    guessed = {name: size for name, size in chosen.items() if name not in given}
    if not guessed:
        return f"{listed(chosen)}, as given." if chosen else ""
    asked = {name: size for name, size in chosen.items() if name in given}
    said = f"{listed(asked)} as given; " if asked else ""
    return f"{said}{listed(guessed)}: plausible sizes, as the model leaves them open."


def listed(chosen: dict[str, int]) -> str:
    shown = [f"{name} = {size}" for name, size in list(chosen.items())[:MAX_SHOWN]]
    return ", ".join(shown) + ", …" * (len(chosen) > MAX_SHOWN)
