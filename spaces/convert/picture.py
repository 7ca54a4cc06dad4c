"""Bar chart of the errors of a conversion on a logarithmic axis, in HTML that uses the page's colours."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from web.html import html, join

from .figures import number

KINDS = (("max_abs_error", "absolute"), ("range_error", "relative"))
LOWEST = -9  # power of ten at the left end; an error of 0 has no bar
MAX_OUTPUTS = 12
MIN_WIDTH = 0.4  # % of the axis, so that a bar stays visible


def errors(outputs: list[dict[str, Any]]) -> Markup:
    """Draw the errors of the first outputs, absolute and relative to the largest value. Empty if there are no figures."""
    shown = outputs[:MAX_OUTPUTS]
    values = [o.get(k) for o in shown for k, _ in KINDS]
    right_exponent = max(0, *(math.ceil(math.log10(v)) for v in values if v and math.isfinite(v)), 0)
    rows = join(_row(o, right_exponent) for o in shown)
    if not rows:
        return Markup()
    marks = join(
        html('<span style="left:{:.1f}%">1e{:+d}</span>', _share(10.0**p, right_exponent), p)
        for p in range(LOWEST, right_exponent + 1, 3)
    )
    return html(
        '<figure class="mw-errors" aria-label="Largest error of each output, logarithmic; the table has the figures">'
        '<figcaption>Largest error of each output: <b class="absolute">■</b> absolute, <b class="relative">■</b> as a '
        'share of its largest value (logarithmic)</figcaption><div class="mw-error-rows">{}<div></div>'
        '<div class="mw-axis" aria-hidden="true">{}</div></div></figure>',
        rows,
        marks,
    )


def _row(output: dict[str, Any], right: int) -> Markup:
    bars = []
    for key, label in KINDS:
        if (value := output.get(key)) is not None:
            tooltip, share = f"largest {label} error: {number(value)}", _share(value, right)
            bars.append(
                html('<div class="mw-error-bar {}" title="{}"><i style="width:{:.1f}%"></i></div>', label, tooltip, share)
            )
    name = html('<div class="mw-error-name"><code>{}</code></div>', output["name"])
    return html("{}<div>{}</div>", name, join(bars)) if bars else Markup()


def _share(value: float, right: int) -> float:
    """Return the position of ``value`` on the axis, in %. ``right``: power of ten at the right end."""
    if not math.isfinite(value):
        return 100.0
    if value <= 0:
        return 0.0
    return min(max(100 * (math.log10(value) - LOWEST) / (right - LOWEST), MIN_WIDTH), 100.0)


CSS = """
.mw-errors { margin: 0 0 14px; } .mw-errors figcaption { font-size: 0.9rem; color: var(--body-text-color-subdued); }
.mw-errors b.absolute { color: #0d9488; } .mw-errors b.relative { color: #ea580c; }
.mw-error-rows { display: grid; grid-template-columns: minmax(60px, max-content) 1fr; gap: 6px 12px; margin-top: 8px; }
.mw-error-name { max-width: 180px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.mw-error-bar { height: 9px; margin: 2px 0; background: var(--background-fill-secondary); border-radius: 3px; }
.mw-error-bar i { display: block; height: 100%; border-radius: 3px; }
.mw-error-bar.absolute i { background: #0d9488; } .mw-error-bar.relative i { background: #ea580c; }
.mw-axis { position: relative; height: 1.2em; font-size: 0.75rem;
  color: var(--body-text-color-subdued); }
.mw-axis span { position: absolute; white-space: nowrap; } .mw-axis span + span { transform: translateX(-50%); }
.mw-axis span:last-child { transform: translateX(-100%); }
@media (max-width: 768px) { .mw-error-name { max-width: 90px; } }
"""
