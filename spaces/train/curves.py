"""Curves of a training as inline SVG: no script, colours by CSS variables, so light and dark need nothing of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from web.cards import e

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 36
MOST = 240  # points of a line; a screen shows no more
COLOURS = ("var(--mw-line-1)", "var(--mw-line-2)", "var(--mw-line-3)", "var(--mw-line-4)")
STEP, EPOCH = "last step", "last epoch"
Point = tuple[float, float]
Band = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """``dots``: few points, each with a mark. ``colour`` is an index of COLOURS. ``of``: what the last point is of."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    dots: bool = False
    dashed: bool = False
    of: str = ""


def of_run(metrics: Sequence[dict[str, Any]]) -> str:
    """The two charts of one run: loss per step, accuracy per epoch."""
    steps, epochs = _steps(metrics), _epochs(metrics)
    loss = [Line("training", smooth([(s["step"], s["loss"]) for s in steps]), 0, of=STEP)]
    loss.append(Line("validation", [(x["step"], x["validation_loss"]) for x in epochs], 1, dots=True, of=EPOCH))
    right = [Line("validation", [(x["epoch"], x["validation_accuracy"]) for x in epochs], 1, dots=True, of=EPOCH)]
    return _figure([chart("Loss", loss, "step"), chart("Accuracy", right, "epoch", percent=True)])


def of_two(names: Sequence[str], metrics: Sequence[Sequence[dict[str, Any]]]) -> str:
    """The same charts with the lines of two runs."""
    loss, right = [], []
    for k, (name, lines) in enumerate(zip(names, metrics, strict=True)):
        epochs = _epochs(lines)
        loss.append(Line(name, smooth([(s["step"], s["loss"]) for s in _steps(lines)]), k, dashed=k == 1, of=STEP))
        points = [(x["epoch"], x["validation_accuracy"]) for x in epochs]
        right.append(Line(name, points, k, dots=True, dashed=k == 1, of=EPOCH))
    titles = ("Training loss", "Validation accuracy")
    return _figure([chart(titles[0], loss, "step"), chart(titles[1], right, "epoch", percent=True)])


def chart(title: str, lines: Sequence[Line], x_label: str, percent: bool = False, band: Sequence[Band] = ()) -> str:
    """One chart with axes, ticks and a legend; its last figures as an aria-label. An empty one keeps its place.

    ``band``: x, low and high of an interval, drawn behind the first line in its colour.
    """
    lines = [replace(line, points=thin(finite(line.points))) for line in lines]
    points = [p for line in lines for p in line.points]
    points += [(x, value) for x, *ends in band for value in ends]
    xs, ys = [p[0] for p in points] or [0.0, 1.0], [p[1] for p in points] or [0.0, 1.0]
    x_low, x_high = min(xs), max(xs)
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1
    y_ticks = ticks(0.0 if not percent else min(0.9, *ys), max(1.0 if percent else 0.0, *ys) or 1.0)
    y_low, y_high = y_ticks[0], max(y_ticks[-1], *ys)

    def x(value: float) -> float:
        return LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - y_low) / ((y_high - y_low) or 1) * (HEIGHT - TOP - BOTTOM)

    drawn = []
    for tick in y_ticks:
        words = f"{100 * tick:g}%" if percent else f"{tick:g}"
        drawn.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{words}</text>')
    for tick in (t for t in ticks(x_low, x_high, whole=True) if x_low <= t <= x_high) if points else ():
        drawn.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{e(x_label)}</text>')
    if band:
        way = [f"{x(a):.1f} {y(low):.1f}" for a, low, _ in band] + [f"{x(a):.1f} {y(high):.1f}" for a, _, high in band[::-1]]
        drawn.append(f'<path class="band" style="fill:{COLOURS[lines[0].colour]}" d="M{"L".join(way)}Z"/>')
    for line in lines:
        colour, dash = COLOURS[line.colour], ' stroke-dasharray="5 4"' if line.dashed else ""
        way = "".join(f"{'L' if k else 'M'}{x(a):.1f} {y(b):.1f}" for k, (a, b) in enumerate(line.points))
        if way:
            drawn.append(f'<path class="line" style="stroke:{colour}" d="{way}"{dash}/>')
        if line.dots or len(line.points) == 1:
            drawn += [f'<circle style="fill:{colour}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3"/>' for a, b in line.points]
    last = [f"{n.name} {_value(n.points[-1][1], percent)} at {x_label} {n.points[-1][0]:g}" for n in lines if n.points]
    words = f"{title}: {'; '.join(last) or 'no figures yet'}."
    legend = "".join(
        f'<span><i style="background:{COLOURS[n.colour]}"></i>{e(n.name)}'
        f"{f' <b>{_value(n.points[-1][1], percent)}</b> {e(n.of)}' if n.points else ''}</span>"
        for n in lines
    )
    return (
        f'<figure><figcaption><b>{e(title)}</b> {legend}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{e(words)}">{"".join(drawn)}</svg></figure>'
    )


def histogram(title: str, counts: Sequence[int], x_label: str) -> str:
    """Bars over 0 to 1, each as wide as the others."""
    total, most = sum(counts), max(counts, default=0) or 1
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(counts))
    drawn = []
    for tick in ticks(0, most, 4, whole=True):
        if tick <= most:
            y = HEIGHT - BOTTOM - tick / most * (HEIGHT - TOP - BOTTOM)
            drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            drawn.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,.0f}</text>')
    for k, count in enumerate(counts):
        tall, x = count / most * (HEIGHT - TOP - BOTTOM), LEFT + k * wide
        words = f"{k / len(counts):.0%} to {(k + 1) / len(counts):.0%}: {count:,}"
        bar = f'<rect x="{x + 1:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}" width="{wide - 2:.1f}" height="{tall:.1f}" rx="2"'
        drawn.append(f'{bar} style="fill:{COLOURS[0]}"><title>{words}</title></rect>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        end = "end" if share == 1 else "middle"
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{end}">{100 * share:g}%</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{e(x_label)}</text>')
    high = sum(counts[-(len(counts) // 10 or 1) :]) / (total or 1)
    words = f"{title}: {total:,} values, {high:.0%} of them in the highest tenth."
    return (
        f"<figure><figcaption><b>{e(title)}</b> <span>{total:,} requests</span></figcaption><svg "
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{e(words)}">{"".join(drawn)}</svg></figure>'
    )


def ticks(low: float, high: float, most: int = 5, whole: bool = False) -> list[float]:
    """Round numbers from at most ``low`` to about ``high``."""
    step = (high - low or abs(high) or 1.0) / most
    size = 10.0 ** math.floor(math.log10(step))
    step = next((m * size for m in (1, 2, 2.5, 5, 10) if m * size >= step * 0.999), 10 * size)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first = math.floor(low / step + 1e-9) * step
    return [round(first + k * step, 10) for k in range(int((high - first) / step + 1e-6) + 1)]


def smooth(points: Sequence[Point], weight: float = 0.8) -> list[Point]:
    """A running mean whose start is not pulled to zero (Kingma & Ba, 2015, bias correction)."""
    found, mean, mass = [], 0.0, 0.0
    for x, y in finite(points):
        mean, mass = weight * mean + (1 - weight) * y, weight * mass + (1 - weight)
        found.append((x, mean / mass))
    return found


def thin(points: Sequence[Point]) -> list[Point]:
    """At most about MOST of them, the last one among them."""
    stride = max(1, math.ceil(len(points) / MOST))
    return [*points[:-1:stride], *points[-1:]]


def finite(points: Iterable[Point]) -> list[Point]:
    return [(float(x), float(y)) for x, y in points if _number(x) and _number(y)]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _value(value: float, percent: bool) -> str:
    return f"{value:.1%}" if percent else f"{value:.3g}"


def _steps(metrics: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in metrics if {"step", "loss"} <= line.keys()]


def _epochs(metrics: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in metrics if {"epoch", "step", "validation_loss", "validation_accuracy"} <= line.keys()]


def _figure(charts: Sequence[str]) -> str:
    return f'<div class="mw-curves">{"".join(charts)}</div>'


CSS = """
:root { --mw-line-1: #0f766e; --mw-line-2: #c2410c; --mw-line-3: #6d28d9; --mw-line-4: #57534e; }
.dark { --mw-line-1: #2dd4bf; --mw-line-2: #fb923c; --mw-line-3: #c4b5fd; --mw-line-4: #a8a29e; }
.mw-curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(260px, 100%), 1fr)); gap: 10px 18px; }
.mw-curves figure { margin: 0; min-width: 0; } .mw-curves svg { width: 100%; height: auto; display: block; }
.mw-curves figcaption { font-size: 0.85rem; display: flex; flex-wrap: wrap; gap: 0 12px; align-items: baseline; }
.mw-curves figcaption span { color: var(--body-text-color-subdued); } .mw-curves figcaption i { display: inline-block;
  width: 10px; height: 10px; border-radius: 50%; margin-right: 4px; }
.mw-curves text { font-size: 11px; fill: var(--body-text-color-subdued); }
.mw-curves .grid { stroke: var(--border-color-primary); stroke-width: 1; fill: none; }
.mw-curves .band { opacity: 0.16; } .mw-curves .line { stroke-width: 2; fill: none; stroke-linejoin: round; }
"""
