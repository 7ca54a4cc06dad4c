"""Training curves as inline SVG without scripts. Colours are CSS variables, so light and dark mode share the markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from lib.train.run_metrics import RunMetrics
from web.html import html, join

from .axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, across, axis, below, svg, ticks

MAX_POINTS = 240  # per line; more would not be visible
COLOURS = ("var(--mw-line-1)", "var(--mw-line-2)", "var(--mw-line-3)", "var(--mw-line-4)")
DASHED = Markup(' stroke-dasharray="5 4"')
BAR = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2" style="fill:{}"><title>{}</title></rect>')
DOT = Markup('<circle style="fill:{}" cx="{:.1f}" cy="{:.1f}" r="3"/>')
STEP, EPOCH = "last step", "last epoch"
Point = tuple[float, float]
Band = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. ``colour`` is an index into COLOURS, ``dots`` marks each point, and ``of`` says in the legend
    what the last value refers to, such as "last epoch"."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    dots: bool = False
    dashed: bool = False
    of: str = ""


def of_run(metrics: RunMetrics) -> Markup:
    """Return the two charts of one run: loss per step and accuracy per epoch."""
    validation = [(epoch.step, epoch.validation_loss) for epoch in metrics.epochs]
    loss = [Line("training", _training_loss(metrics), 0, of=STEP), Line("validation", validation, 1, dots=True, of=EPOCH)]
    accuracy = [Line("validation", _accuracy(metrics), 1, dots=True, of=EPOCH)]
    return _figure([chart("Loss", loss, "step"), chart("Accuracy", accuracy, "epoch", percent=True)])


def of_two(names: Sequence[str], metrics: Sequence[RunMetrics]) -> Markup:
    """Return the charts of training loss and validation accuracy with one line for each of two runs."""
    loss, accuracy = [], []
    for k, (name, run_metrics) in enumerate(zip(names, metrics, strict=True)):
        loss.append(Line(name, _training_loss(run_metrics), k, dashed=k == 1, of=STEP))
        accuracy.append(Line(name, _accuracy(run_metrics), k, dots=True, dashed=k == 1, of=EPOCH))
    titles = ("Training loss", "Validation accuracy")
    return _figure([chart(titles[0], loss, "step"), chart(titles[1], accuracy, "epoch", percent=True)])


def _training_loss(metrics: RunMetrics) -> list[Point]:
    return smooth([(step.step, step.loss) for step in metrics.steps])


def _accuracy(metrics: RunMetrics) -> list[Point]:
    return [(epoch.epoch, epoch.validation_accuracy) for epoch in metrics.epochs]


def chart(title: str, lines: Sequence[Line], x_label: str, percent: bool = False, band: Sequence[Band] = ()) -> Markup:
    """Draw a chart with axes, ticks and a legend. The aria-label gives the last value of each line.

    A chart without points keeps its size. ``band``: (x, low, high) of an interval, drawn behind the first line in its
    colour.
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

    parts = []
    for tick in y_ticks:
        text = f"{100 * tick:g}%" if percent else f"{tick:g}"
        parts += across(y(tick), text)
    for tick in (t for t in ticks(x_low, x_high, whole=True) if x_low <= t <= x_high) if points else ():
        parts.append(below(x(tick), f"{tick:g}"))
    parts.append(axis(x_label))
    if band:
        path = [f"{x(a):.1f} {y(low):.1f}" for a, low, _ in band] + [
            f"{x(a):.1f} {y(high):.1f}" for a, _, high in band[::-1]
        ]
        parts.append(html('<path class="band" style="fill:{}" d="M{}Z"/>', COLOURS[lines[0].colour], "L".join(path)))
    for line in lines:
        colour, dash = COLOURS[line.colour], DASHED if line.dashed else ""
        path = "".join(f"{'L' if k else 'M'}{x(a):.1f} {y(b):.1f}" for k, (a, b) in enumerate(line.points))
        if path:
            parts.append(html('<path class="line" style="stroke:{}" d="{}"{}/>', colour, path, dash))
        if line.dots or len(line.points) == 1:
            parts += [DOT.format(colour, x(a), y(b)) for a, b in line.points]
    last = [f"{n.name} {_value(n.points[-1][1], percent)} at {x_label} {n.points[-1][0]:g}" for n in lines if n.points]
    text = f"{title}: {'; '.join(last) or 'no figures yet'}."
    return html(
        "<figure><figcaption><b>{}</b> {}</figcaption>{}</figure>",
        title,
        join(_legend(line, percent) for line in lines),
        svg(text, parts),
    )


def _legend(line: Line, percent: bool) -> Markup:
    last = html(" <b>{}</b> {}", _value(line.points[-1][1], percent), line.of) if line.points else ""
    return html('<span><i style="background:{}"></i>{}{}</span>', COLOURS[line.colour], line.name, last)


def histogram(title: str, counts: Sequence[int], x_label: str) -> Markup:
    """Draw a histogram of values in [0, 1]. ``counts``: values per bin, in bins of equal width."""
    total, most = sum(counts), max(counts, default=0) or 1
    width = (WIDTH - LEFT - RIGHT) / max(1, len(counts))
    parts = []
    for tick in ticks(0, most, 4, whole=True):
        if tick <= most:
            parts += across(HEIGHT - BOTTOM - tick / most * (HEIGHT - TOP - BOTTOM), f"{tick:,.0f}")
    for k, count in enumerate(counts):
        height, x = count / most * (HEIGHT - TOP - BOTTOM), LEFT + k * width
        text = f"{k / len(counts):.0%} to {(k + 1) / len(counts):.0%}: {count:,}"
        bar = x + 1, HEIGHT - BOTTOM - height, width - 2, height
        parts.append(BAR.format(*bar, COLOURS[0], text))
    for share in (0, 0.25, 0.5, 0.75, 1):
        anchor = "end" if share == 1 else "middle"
        parts.append(below(LEFT + share * (WIDTH - LEFT - RIGHT), f"{100 * share:g}%", anchor))
    parts.append(axis(x_label))
    high = sum(counts[-(len(counts) // 10 or 1) :]) / (total or 1)
    text = f"{title}: {total:,} values, {high:.0%} of them in the highest tenth."
    head = html("<b>{}</b> <span>{:,} requests</span>", title, total)
    return html("<figure><figcaption>{}</figcaption>{}</figure>", head, svg(text, parts))


def smooth(points: Sequence[Point], weight: float = 0.8) -> list[Point]:
    """Exponential moving average with the bias correction of Adam (Kingma & Ba, 2015), so it does not start near zero."""
    smoothed, mean, mass = [], 0.0, 0.0
    for x, y in finite(points):
        mean, mass = weight * mean + (1 - weight) * y, weight * mass + (1 - weight)
        smoothed.append((x, mean / mass))
    return smoothed


def thin(points: Sequence[Point]) -> list[Point]:
    """Subsample to about ``MAX_POINTS`` points. The last point is always kept."""
    stride = max(1, math.ceil(len(points) / MAX_POINTS))
    return [*points[:-1:stride], *points[-1:]]


def finite(points: Iterable[Point]) -> list[Point]:
    return [(float(x), float(y)) for x, y in points if _number(x) and _number(y)]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _value(value: float, percent: bool) -> str:
    return f"{value:.1%}" if percent else f"{value:.3g}"


def _figure(charts: Sequence[Markup]) -> Markup:
    return html('<div class="mw-curves">{}</div>', join(charts))


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
