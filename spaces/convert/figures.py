"""Figures as words. None, and whatever is no number, is a dash."""

from __future__ import annotations

from typing import Any

from lib.reports import words


def number(value: Any, digits: int = 3) -> str:
    return "–" if not isinstance(value, int | float) else f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g} %"


def seconds_text(value: float | None) -> str:
    return (
        "–"
        if value is None
        else f"{value:.1f} s"
        if value < 10 and value != int(value)
        else f"{value:.0f} s"
        if value < 120
        else f"{value / 60:.0f} min"
    )


def bytes_text(value: float | None) -> str:
    return "–" if value is None else words.size(value)


def ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g} ms"


def speed(ratio: float | None) -> str:
    """Of a latency after / before: ``35× faster``; "" for none."""
    if not ratio:
        return ""
    if 0.9 < ratio < 1.1:
        return "same speed"
    return f"{1 / ratio:.2g}× faster" if ratio < 1 else f"{ratio:.2g}× slower"


def size(ratio: float | None) -> str:
    """Of bytes after / before: ``50 % smaller``."""
    if not ratio:
        return ""
    if 0.98 < ratio < 1.02:
        return "same size"
    return f"{100 * (1 - ratio):.0f} % smaller" if ratio < 1 else f"{100 * (ratio - 1):.0f} % larger"
