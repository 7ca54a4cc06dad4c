"""Format numbers for display. A missing value is shown as a dash."""

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
    """Format a ratio of latencies, after / before, such as ``35× faster``. Returns "" for None or 0."""
    if not ratio:
        return ""
    if 0.9 < ratio < 1.1:
        return "same speed"
    return f"{1 / ratio:.2g}× faster" if ratio < 1 else f"{ratio:.2g}× slower"


def size(ratio: float | None) -> str:
    """Format a ratio of sizes, after / before, such as ``50 % smaller``. Returns "" for None or 0."""
    if not ratio:
        return ""
    if 0.98 < ratio < 1.02:
        return "same size"
    return f"{100 * (1 - ratio):.0f} % smaller" if ratio < 1 else f"{100 * (ratio - 1):.0f} % larger"
