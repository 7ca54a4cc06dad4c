"""SVG frame of a chart: size, axes, ticks and grid."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from web.html import html, join

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 36


def svg(words: str, drawn: Iterable[Markup]) -> Markup:
    return html('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>', WIDTH, HEIGHT, words, join(drawn))


def across(y: float, words: str) -> list[Markup]:
    """Returns a horizontal grid line and the label at its left."""
    line = html('<path class="grid" d="M{} {:.1f}H{}"/>', LEFT, y, WIDTH - RIGHT)
    return [line, html('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>', LEFT - 6, y + 4, words)]


def below(x: float, words: str, anchor: str = "middle") -> Markup:
    return html('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>', x, HEIGHT - BOTTOM + 16, anchor, words)


def axis(words: str) -> Markup:
    middle = (LEFT + WIDTH - RIGHT) / 2
    return html('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>', middle, HEIGHT - 4, words)


def ticks(low: float, high: float, most: int = 5, whole: bool = False) -> list[float]:
    """Returns about ``most`` evenly spaced round numbers that start at or below ``low`` and end near ``high``.

    ``whole`` restricts them to integers.
    """
    step = (high - low or abs(high) or 1.0) / most
    size = 10.0 ** math.floor(math.log10(step))
    step = next((m * size for m in (1, 2, 2.5, 5, 10) if m * size >= step * 0.999), 10 * size)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first = math.floor(low / step + 1e-9) * step
    return [round(first + k * step, 10) for k in range(int((high - first) / step + 1e-6) + 1)]
