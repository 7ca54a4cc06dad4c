"""The card of a data set: counts, bars, samples, and what is wrong with it."""

from __future__ import annotations

from lib.train.data_summary import ClassCount, DataSummary
from web.cards import e

from .view import picture

THUMBS = 12
PARTS = (("train", "training", "t"), ("val", "validation", "v"), ("test", "test", "x"))


def card(summary: DataSummary) -> str:
    rows, parts = summary.classes, {part: summary.pictures(part) for part, _, _ in PARTS}
    most = max((row.count for row in rows), default=1) or 1
    said = f"{summary.count:,} pictures in {len(rows)} classes"
    bars = "".join(
        f'<li><span title="{e(row.name)}"><em>{e(row.name)}</em><b>{row.count:,}</b></span>'
        f'<div class="mw-stack" style="width:{100 * row.count / most:.1f}%">{_stack(row)}</div></li>'
        for row in rows
    )
    key = "".join(f'<span><i class="{kind}"></i>{parts[part]:,} {name}</span>' for part, name, kind in PARTS if parts[part])
    return (
        f'<div class="mw-card mw-train" data-say="{e(said)}"><h3>{e(summary.name)}: {e(said)}</h3>'
        f'<div class="mw-key">{key}</div><div class="mw-strip one">{_samples(summary)}</div>'
        f'<div class="mw-short" tabindex="0" role="region" aria-label="Pictures by class"><ul class="mw-bars">{bars}'
        f"</ul></div>{_warnings(summary)}{_problems(summary)}{_duplicates(summary)}</div>"
    )


def _stack(row: ClassCount) -> str:
    return "".join(
        f'<i class="{kind}" style="width:{100 * count / row.count:.1f}%" title="{count} {name}"></i>'
        for part, name, kind in PARTS
        if (count := getattr(row, part)) and row.count
    )


def first_samples(summary: DataSummary, most: int) -> list[tuple[str, int, str]]:
    """``(class, number, thumbnail)``, one of each class first, then the second ones."""
    kept = summary.samples
    deepest = max((len(some) for some in kept.values()), default=0)
    found = [(name, k, some[k]) for k in range(deepest) for name, some in kept.items() if k < len(some) and some[k]]
    return found[:most]


def _samples(summary: DataSummary) -> str:
    return "".join(
        f'<span title="{e(name)}">{picture(thumb, name)}</span>' for name, _, thumb in first_samples(summary, THUMBS)
    )


def _warnings(summary: DataSummary) -> str:
    return "".join(f'<div class="mw-alert">{e(words)}</div>' for words in summary.warnings)


def _problems(summary: DataSummary) -> str:
    some, total = summary.problems, summary.problems_count
    if not some:
        return ""
    out = summary.left_out
    head = f"{out:,} files are skipped" if out else "All files are used"
    rest = f"<li>and {total - len(some):,} more</li>" if total > len(some) else ""
    listed = "".join(f"<li><code>{e(p.name)}</code>: {e(p.what)}{' (used)' if p.used else ''}</li>" for p in some)
    return (
        f"<details{' open' if total <= 3 else ''}><summary><b>{e(head)}</b>; {total:,} with problems</summary>"
        f'<ul class="mw-short">{listed}{rest}</ul></details>'
    )


def _duplicates(summary: DataSummary) -> str:
    groups, total = summary.duplicates, summary.duplicates_count
    if not groups:
        return ""
    listed = "".join(
        f"<li>{' = '.join(f'<code>{e(name)}</code>' for name in group.files)}"
        f"{' <b>in two ' + e(' and '.join(group.across_what)) + '</b>' if group.across else ''}</li>"
        for group in groups
    )
    word = "picture" if total == 1 else "pictures"
    return f'<details><summary>{total:,} duplicated {word}</summary><ul class="mw-short">{listed}</ul></details>'
