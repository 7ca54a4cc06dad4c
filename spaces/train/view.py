"""Texts, HTML helpers and CSS that the parts of the page share."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from lib.train.run_record import RunRecord
from lib.train.runs import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, WAITING
from web import cards
from web.html import html, join

from . import curves

IDLE = Markup("<b>Choose pictures on the left, then press Train.</b><br>The curves and the result appear here.")
STATUS = {  # text and colour of the chip of each status
    WAITING: ("waiting", "plain"),
    RUNNING: ("training", "busy"),
    DONE: ("done", "ok"),
    STOPPED: ("stopped", "warning"),
    INTERRUPTED: ("interrupted", "error"),
    FAILED: ("failed", "error"),
}
OPEN = Markup(" open")  # of <details>
NO_THUMBNAIL = Markup("<i>no thumbnail</i>")
RANDOM = Markup('<span class="mw-chip warning" title="The backbone is not pretrained">random weights</span>')

# Turns a click on an element with data-pick into an event with that value. The elements are buttons, for keyboard and touch.
PICK = """element.addEventListener('click', (event) => {
  const found = event.target.closest('[data-pick]');
  if (found && element.contains(found)) trigger('click', { pick: found.dataset.pick });
});"""


def seconds(value: float) -> str:
    """Format a duration in seconds, rounded to the precision of an estimate."""
    if value < 10:
        return f"{max(1, round(value))} s"
    if value < 100:
        return f"{5 * round(value / 5)} s"
    if value < 3600:
        return f"{round(value / 60)} min"
    return f"{value / 3600:.1f} h"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def interval(ends: Sequence[float]) -> str:
    low, high = ends
    return f"{100 * low:.1f}–{100 * high:.1f}%"


def when(stamp: float | None) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(stamp)) if stamp is not None else ""


def chip(status: str) -> Markup:
    return cards.chip(*STATUS.get(status, (status, "plain")))


def scroll(table: Markup, name: str = "") -> Markup:
    """Wrap a table in a scrollable region. ``name``: its accessible name, for a table without a heading."""
    attributes = html(' tabindex="0" role="region" aria-label="{}"', name) if name else ""
    return html('<div class="mw-scroll"{}>{}</div>', attributes, table)


def framework(record: RunRecord) -> str:
    """Return the display name of the run's framework."""
    return "Keras" if record.recipe.get("framework") == "keras" else "PyTorch"


def two_lines(first: object, second: object) -> Markup:
    """Return the content of a table cell: a main line and a small one below."""
    return html("{}<div>{}</div>", first, second)


def figures(some: Iterable[tuple[str, str]]) -> Markup:
    """Return names and values in a row, or empty markup if there are none."""
    cells = join(html("<div><span>{}</span> <b>{}</b></div>", *figure) for figure in some)
    return html('<div class="mw-figures">{}</div>', cells) if cells else cells


def accuracy(share: float, words: str) -> Markup:
    return html('<div class="mw-accuracy"><span class="mw-big">{}</span><span>{}</span></div>', percent(share), words)


def picture(thumb: str, words: str, more: str = "") -> Markup:
    """Return a figure. ``thumb``: base64 JPEG, "" if none was kept; ``words``: alt text; ``more``: caption."""
    image = html('<img src="data:image/jpeg;base64,{}" alt="{}" loading="lazy">', thumb, words) if thumb else NO_THUMBNAIL
    return html("<figure>{}{}</figure>", image, html("<figcaption>{}</figcaption>", more) if more else "")


CSS = (
    curves.CSS
    + """
.mw-chip.busy { background: #0f766e; } .mw-chip.plain { background: #57534e; }
.mw-train h3 { margin: 0 0 4px; font-size: 1.02rem; color: var(--body-text-color); }
.mw-train h4 { margin: 12px 0 4px; font-size: 0.92rem; color: var(--body-text-color); }
.mw-card > h4:first-child { margin-top: 0; }
.mw-card .mw-also { margin: 10px 0 0; } #train-drop .icon-wrap { display: none; }
.mw-card .mw-nowrap td, .mw-card .mw-nowrap th { white-space: nowrap; }
.mw-own { align-items: center; } .mw-own button.stop { background: #b91c1c; color: #fff; }
/* a part with nothing to say takes no room */
:is(#train-export, #train-making, #train-cell, #train-matrix, #train-mistakes, #train-compared, #train-data):not(
  :has(.mw-card)) {
  display: none; }
.mw-train small, .mw-quiet { color: var(--body-text-color-subdued); font-size: 0.86rem; }
.mw-train summary { cursor: pointer; padding: 4px 0; } .mw-train details ul { margin: 4px 0 8px 18px; }
.mw-head { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; margin-bottom: 4px; }
.mw-head b { overflow-wrap: anywhere; }
.mw-figures { display: flex; flex-wrap: wrap; gap: 2px 20px; margin: 6px 0 8px; }
.mw-figures span { color: var(--body-text-color-subdued); } .mw-figures b { font-variant-numeric: tabular-nums; }
.mw-bars { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 4px 14px; margin: 0;
  padding: 0; list-style: none; font-size: 0.84rem; }
.mw-bars li { min-width: 0; margin: 0; padding: 0; } .mw-bars span { display: flex; justify-content: space-between; gap: 8px;
  line-height: 1.35; } .mw-bars em { font-style: normal; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.mw-bars b { font-weight: 500; white-space: nowrap; font-variant-numeric: tabular-nums; }
.mw-stack { display: flex; height: 6px; border-radius: 3px; overflow: hidden; }
.mw-stack i, .mw-key i { display: block; height: 100%; } .mw-train .t { background: var(--mw-line-1); }
.mw-train .v { background: var(--mw-line-2); } .mw-train .x { background: var(--mw-line-3); }
.mw-key { display: flex; flex-wrap: wrap; gap: 0 12px; font-size: 0.82rem; color: var(--body-text-color-subdued); }
.mw-key i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 4px; }
.mw-short { max-height: 142px; overflow-y: auto; padding-right: 4px; }
.mw-strip { display: flex; flex-wrap: wrap; gap: 4px; margin: 6px 0; } .mw-strip figure { margin: 0; }
.mw-strip.one { height: 38px; overflow: hidden; }
.mw-strip img { width: 38px; height: 38px; object-fit: cover; border-radius: 6px; display: block; margin: 0; }
.mw-strip button { padding: 0; border: 0; border-radius: 6px; background: none; cursor: pointer; }
.mw-strip button img { width: 52px; height: 52px; }
.mw-photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); gap: 10px 8px; margin: 6px 0; }
.mw-photos figure { margin: 0; min-width: 0; font-size: 0.8rem; line-height: 1.3; }
.mw-photos img { width: 72px; height: 72px;
  border-radius: 8px; display: block; margin: 0 0 3px; object-fit: cover; }
.mw-photos figcaption { overflow-wrap: anywhere; }
.mw-wrong { color: #b91c1c; } .dark .mw-wrong { color: #fca5a5; }
.mw-alert { border-left: 4px solid #b45309; padding: 4px 10px; margin: 6px 0; background: var(--background-fill-secondary);
  border-radius: 0 8px 8px 0; } .mw-alert.bad { border-color: #b91c1c; } .mw-alert.good { border-color: #15803d; }
.mw-big { font-size: 2.3rem; font-weight: 650; line-height: 1.1; letter-spacing: -0.02em; }
.mw-accuracy { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: baseline; }
.mw-card table.mw-confusion { border-collapse: separate; border-spacing: 2px; font-size: 0.82rem; }
.mw-card .mw-confusion td, .mw-card .mw-confusion th { padding: 0; text-align: center; vertical-align: middle; }
.mw-card .mw-confusion th { font-weight: 500; color: var(--body-text-color-subdued); max-width: 8.5em; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.mw-card .mw-confusion tbody th { text-align: right; padding-right: 6px; position: sticky; left: 0;
  background: var(--block-background-fill); }
.mw-card .mw-confusion thead th { height: 5.5em; vertical-align: bottom; } .mw-confusion thead th span {
  writing-mode: vertical-rl; transform: rotate(180deg); display: inline-block; max-height: 5.5em; overflow: hidden;
  text-overflow: ellipsis; }
.mw-confusion td { width: 34px; height: 30px; border-radius: 5px; background: var(--background-fill-secondary); }
.mw-confusion button { width: 100%; min-width: 30px; height: 30px; border: 0; border-radius: 5px; cursor: pointer;
  color: var(--body-text-color); background: none; font-variant-numeric: tabular-nums; white-space: nowrap;
  padding: 0 4px; display: block; line-height: 30px; font-size: 0.82rem; }
.mw-confusion button:hover { outline: 2px solid var(--mw-focus); outline-offset: -2px; }
.mw-links { display: flex; flex-wrap: wrap; gap: 6px 8px; margin: 8px 0 2px; }
.mw-links a, .mw-train button.mw-do { display: inline-block; padding: 3px 14px; border-radius: 8px; font-weight: 500;
  border: 1px solid var(--border-color-primary); background: var(--button-secondary-background-fill); cursor: pointer;
  color: var(--button-secondary-text-color); text-decoration: none; font-size: 0.84rem; line-height: 1.5; }
.mw-links a:hover, .mw-train button.mw-do:hover { background: var(--button-secondary-background-fill-hover); }
.mw-card table.mw-runs { width: 100%; font-size: 0.86rem; } .mw-card .mw-runs td, .mw-card .mw-runs th {
  padding: 5px 10px 5px 0; border-top: 1px solid var(--border-color-primary); white-space: nowrap; }
.mw-card .mw-runs th { border-top: 0; color: var(--body-text-color-subdued); font-weight: 500; }
.mw-card .mw-runs tr.now td { background: var(--background-fill-secondary); }
.mw-card .mw-runs td, .mw-card .mw-runs th { padding-left: 6px; padding-right: 6px; }
.mw-runs td:first-child { max-width: 8.5em; } .mw-runs td:first-child div { overflow: hidden; text-overflow: ellipsis; }
.mw-card .mw-runs td:last-child { white-space: normal; min-width: 7em; }
.mw-runs td:nth-child(3) .mw-chip { font-size: 0.72rem; }
.mw-runs td div { color: var(--body-text-color-subdued); font-size: 0.8rem; }
.mw-runs button { border: 0; background: none; padding: 0; font-size: inherit; line-height: 1.5; display: block;
  font-weight: 600; cursor: pointer; text-align: left;
  color: var(--mw-focus); text-decoration: underline; text-underline-offset: 2px; max-width: 100%; overflow: hidden;
  text-overflow: ellipsis; }
.mw-board { width: 100%; height: 720px; border: 0; border-radius: 12px;
  background: #fff; display: block; }
.mw-scores { width: 100% !important; }
.mw-scores td { padding: 2px 10px 2px 0 !important; vertical-align: middle !important; }
.mw-scores td:nth-child(2) { width: 100%; } .mw-scores td:not(:nth-child(2)) { white-space: nowrap; max-width: 11em;
  overflow: hidden; text-overflow: ellipsis; font-variant-numeric: tabular-nums; }
 .mw-scores i { display: block; height: 10px; border-radius: 4px;
  background: var(--mw-line-1); min-width: 2px; }
@media (max-width: 768px) { .mw-inner .mw-columns { flex-wrap: nowrap !important; }
  .mw-columns .row:has(> .column > #train-drop) { flex-direction: column; }
  .mw-columns .row > .column:has(> #train-drop) { width: 100%; }
  .mw-columns .row.mw-own > * { min-width: 96px !important; flex: 0 1 auto !important; }
  .mw-board { height: 560px; } .mw-train, .mw-card.mw-train { max-width: 100%; } }
"""
)
