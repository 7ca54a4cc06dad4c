"""The files made of a run, a row each: how large, how right, how fast, and where the same network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from web.cards import e

from .view import interval, percent

TITLES = {
    "onnx": "ONNX",
    "tflite": "TensorFlow Lite, float32",
    "tflite-fp16": "TensorFlow Lite, float16",
    "tflite-int8": "TensorFlow Lite, int8",
}
CHOICES = [(title, target) for target, title in TITLES.items()]
WITHHELD = "withheld"
NOTHING = "The files appear here, each with the accuracy that was measured on that file."
EXPLAINED = (
    "Every figure is measured on the file itself, on pictures that were not used for training. A TensorFlow Lite file is "
    "handed out only when MediaPipe and the trained network agree on them; otherwise it is withheld, with the reason."
)
HEAD = ("file", "MB", "accuracy (95%)", "same label", "median ms", "MediaPipe", "")


def table(rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any] | None, address: str, own: str = "PyTorch") -> str:
    """``rows`` as ``lib/train/edge/rows.py`` has them; ``address`` ends where a file's name is due."""
    if not rows:
        return ""
    lines = [_own(result, own)] if result and result.get("count") else []
    lines += [_line(row, address) for row in rows]
    head = "".join(f"<th>{name.replace('same label', f'same label as {e(own)}')}</th>" for name in HEAD)
    proven = sum(1 for row in rows if row.get("file"))
    said = f"{proven} of {len(rows)} files can be downloaded."
    return (
        f'<div class="mw-card mw-train" data-say="{said}"><h3>Files of this run</h3><div class="mw-scroll" tabindex="0" '
        f'role="region" aria-label="Files of this run"><table class="mw-files"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{_reasons(rows)}<small>{EXPLAINED}</small></div>"
    )


def _own(result: Mapping[str, Any], own: str) -> str:
    """The trained network, to compare with."""
    accuracy = f"<b>{percent(result['accuracy'])}</b><div>{interval(dict(result))}</div>"
    about = f"{result['count']:,} {e(result['on'])} pictures"
    return f"<tr><td><b>{e(own)}</b><div>{about}</div></td><td></td><td>{accuracy}</td><td></td><td></td><td></td><td></td></tr>"


def _line(row: Mapping[str, Any], address: str) -> str:
    title = TITLES.get(row["target"], row["target"])
    about = f"{row['count']:,} {e(row['on'])} pictures" if row.get("count") else ""
    if row.get("file"):
        end = f'<a href="{e(address)}{e(row["file"])}" download aria-label="Download {e(title)}">Download</a>'
    else:
        end = '<span class="mw-chip error">withheld</span>'
    cells = [
        f"<b>{e(title)}</b><div>{about}</div>",
        "" if row.get("megabytes") is None else f"{row['megabytes']:.1f}",
        "" if row.get("accuracy") is None else f"<b>{percent(row['accuracy'])}</b><div>{interval(dict(row))}</div>",
        "" if row.get("same_label") is None else percent(row["same_label"]),
        _speed(row),
        {True: "runs", False: "does not run", None: "–"}[row.get("mediapipe")],
        end,
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _speed(row: Mapping[str, Any]) -> str:
    if row.get("milliseconds") is None:
        return ""
    ms, threads = row["milliseconds"], row.get("threads")
    on = f"<div>{threads} thread{'' if threads == 1 else 's'}</div>" if threads else ""
    return f"{ms:.1f}{on}" if ms < 10 else f"{ms:.0f}{on}"


def _reasons(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why a file is withheld, and what was done to one that is not."""
    found = []
    for row in rows:
        title = e(TITLES.get(row["target"], row["target"]))
        if not row.get("file"):
            found.append(f'<div class="mw-alert bad"><b>{title}</b> is withheld. {e(row.get("why") or "")}</div>')
        elif row.get("note"):
            found.append(f'<p class="mw-quiet"><b>{title}</b>: {e(row["note"])}</p>')
    return "".join(found)


def choices(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The files that are there, for a list: a title and the file's name."""
    return [(TITLES.get(row["target"], row["target"]), row["file"]) for row in rows if row.get("file")]


CSS = """
.mw-card table.mw-files { width: 100%; font-size: 0.88rem; } .mw-card .mw-files td, .mw-card .mw-files th { white-space: nowrap;
  padding: 6px 12px 6px 0; border-top: 1px solid var(--border-color-primary); font-variant-numeric: tabular-nums; }
.mw-card .mw-files th { border-top: 0; color: var(--body-text-color-subdued); font-weight: 500; white-space: normal;
  vertical-align: bottom; }
.mw-files td div { color: var(--body-text-color-subdued); font-size: 0.8rem; }
.mw-files a { font-weight: 600; color: var(--mw-focus); text-decoration: underline; text-underline-offset: 2px; }
.mw-files ~ small, .mw-scroll + .mw-alert { margin-top: 8px; }
"""
