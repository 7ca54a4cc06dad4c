"""The table of a run's exported files: size, accuracy, speed, and whether MediaPipe runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from lib.train.edge.export_row import ExportRow
from lib.train.evaluation import PartResult, RunResult
from web.cards import card, chip
from web.html import html, join

from .view import interval, percent, scroll, two_lines
from .view_try import RUNTIMES

TITLES = {"onnx": "ONNX", "tflite": "TFLite float32", "tflite-fp16": "TFLite float16", "tflite-int8": "TFLite int8"}
WITHHELD = "withheld"
NOTHING = "The files appear here, each with the accuracy measured on that file."
EXPLAINED = (
    "All figures are measured on the file itself. A float32 or float16 file can be downloaded only if MediaPipe predicts "
    "the same labels with it as the trained network on the validation pictures (ties are not counted), an int8 file only if "
    "its accuracy there lies inside the 95% interval of the trained network. In each class, most pictures that the network "
    "is sure of must keep their label. Otherwise the file is withheld, with the reason."
)
BUSY = Markup('<div><span class="mw-wrong" title="The measured times vary a lot">on a busy machine</span></div>')
HEAD = ("file", "MB", "accuracy (95%)", "same label", "median ms", "MediaPipe")


def table(
    rows: Sequence[ExportRow],
    result: RunResult | None,
    address: str,
    own: str = "PyTorch",
    saved: Callable[[str], str] = str,
) -> Markup:
    """Return the card with the table.

    ``result``: of the record; ``address``: URL prefix of the files; ``own``: the run's framework; ``saved`` maps a file
    name to the name under which a browser saves it.
    """
    if not rows:
        return Markup()
    part, count = next(((row.on, row.count) for row in rows if row.count), ("", 0))
    trained = result.parts.get(part) if result else None
    lines = [_own(trained, own)] if trained else []
    lines += [_line(row, address, saved) for row in rows]
    same_label = html("same label as&nbsp;{}", own)
    head = join(html("<th>{}</th>", same_label if name == "same label" else name) for name in HEAD)
    proven = sum(1 for row in rows if row.file)
    note = html("<small>Accuracy on {:,} {} pictures.</small>", count, part) if count else ""
    table = html('<table class="mw-files"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, join(lines))
    return card(
        Markup("<h3>Files of this run</h3>"),
        note,
        scroll(table, "Files of this run"),
        *map(_reason, rows),
        html("<small>{}</small>", EXPLAINED),
        kind="mw-train",
        say=f"{proven} of {len(rows)} files can be downloaded.",
    )


def _own(result: PartResult, own: str) -> Markup:
    """Return the row of the trained network, for comparison."""
    return _row(
        [two_lines(html("<b>{}</b>", own), "as trained"), "", _accuracy(result.accuracy, result.interval), "", "", ""]
    )


def _row(cells: Sequence[object]) -> Markup:
    """Return a table row. On a phone the head is hidden, and each cell shows its ``data-name``."""
    tds = (html('<td data-name="{}">{}</td>', name, cell) for name, cell in zip(HEAD, cells, strict=True))
    return html("<tr>{}</tr>", join(tds))


def _line(row: ExportRow, address: str, saved: Callable[[str], str]) -> Markup:
    title, link = TITLES.get(row.target, row.target), chip("withheld", "error")
    if row.file:
        link = html(
            '<a href="{0}{1}" download aria-label="Download {2}: {3}">{3}</a>', address, row.file, title, saved(row.file)
        )
    cells = [
        html("<b>{}</b><br>{}", title, link),
        "" if row.megabytes is None else f"{row.megabytes:.1f}",
        "" if row.accuracy is None else _accuracy(row.accuracy, row.interval or (0, 1)),
        _same(row),
        _speed(row),
        {True: "runs", False: "does not run", None: "–"}[row.mediapipe],
    ]
    return _row(cells)


def _accuracy(value: float, ends: Sequence[float]) -> Markup:
    return two_lines(html("<b>{}</b>", percent(value)), interval(ends))


def _same(row: ExportRow) -> str:
    """Return the share of pictures with the same label and the largest difference of a probability."""
    if row.same_label is None:
        return ""
    if row.difference is None:
        return percent(row.same_label)
    difference = html('<div title="The largest difference of a probability">at most {:.2g} apart</div>', row.difference)
    return percent(row.same_label) + difference


def _speed(row: ExportRow) -> str:
    if row.milliseconds is None:
        return ""
    ms, threads = row.milliseconds, row.threads
    where = [f"{threads} thread{'' if threads == 1 else 's'}"] if threads else []
    where += [RUNTIMES.get(row.runtime, row.runtime)] if row.runtime else []
    details = html("<div>{}</div>", ", ".join(where)) if where else Markup()
    return (f"{ms:.1f}" if ms < 10 else f"{ms:.0f}") + details + (BUSY if row.noisy else "")


def _reason(row: ExportRow) -> Markup:
    """Return why a file is withheld, or the notes of one that is not."""
    title = TITLES.get(row.target, row.target)
    if not row.file:
        return html('<div class="mw-alert bad"><b>{}</b> is withheld. {}</div>', title, row.why or "")
    notes = _notes(row)
    return html('<p class="mw-quiet"><b>{}</b>: {}</p>', title, notes) if notes else Markup()


def _notes(row: ExportRow) -> str:
    floats, layers = row.float_layers or 0, row.layers or 0
    float_note = f"{floats} of {layers} layers stay float32. " if floats and layers else ""
    return f"{float_note}{row.note or ''}".strip()


def choices(rows: Sequence[ExportRow]) -> list[tuple[str, str]]:
    """Return the available files as ``(title, file name)``, for a dropdown."""
    return [(TITLES.get(row.target, row.target), row.file) for row in rows if row.file]


CSS = """
:has(> #train-files):not(:has(#train-files a)) > #train-onward { display: none; } /* until there is a file */
.mw-card table.mw-files { width: 100%; font-size: 0.88rem; }
.mw-card .mw-files td, .mw-card .mw-files th {
  white-space: nowrap; padding: 6px 12px 6px 0; border-top: 1px solid var(--border-color-primary);
  font-variant-numeric: tabular-nums; }
.mw-card .mw-files th { border-top: 0; color: var(--body-text-color-subdued); font-weight: 500; white-space: normal;
  vertical-align: bottom; overflow-wrap: normal; }
.mw-files td div { color: var(--body-text-color-subdued); font-size: 0.8rem; white-space: normal; overflow-wrap: normal;
  line-height: 1.35; }
.mw-card .mw-files td:last-child, .mw-card .mw-files th:last-child { padding-right: 0; }
.mw-card .mw-files a { padding: 0; margin: 0; font-weight: 600; color: var(--mw-focus); text-decoration: underline;
  text-underline-offset: 2px; }
.mw-files ~ small, .mw-scroll + .mw-alert { margin-top: 8px; }
@media (max-width: 768px) { /* a card for each file in place of a row */
  .mw-card .mw-files, .mw-files tbody, .mw-files tr { display: block; }
  .mw-files thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; }
  .mw-files tr { border-top: 1px solid var(--border-color-primary) !important; padding: 6px 0; }
  .mw-card .mw-files td { display: grid; grid-template-columns: 8em 1fr; gap: 0 10px; border: 0; padding: 2px 0;
    white-space: normal; }
  .mw-card .mw-files td > * { grid-column: 2; } .mw-card .mw-files td:empty { display: none; }
  .mw-card .mw-files td:first-child { display: block; }
  .mw-files td:not(:first-child)::before { content: attr(data-name); grid-column: 1; grid-row: 1 / span 3;
    color: var(--body-text-color-subdued); } }
"""
