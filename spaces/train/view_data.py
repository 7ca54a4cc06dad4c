"""The card of a data set: counts, bars, samples, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from web.cards import e

from .view import picture

THUMBS = 12
PARTS = (("train", "training", "t"), ("val", "validation", "v"), ("test", "test", "x"))


def counts(summary: dict[str, Any]) -> dict[str, int]:
    """Pictures by part."""
    return {part: sum(int(row.get(part) or 0) for row in summary.get("classes") or ()) for part, _, _ in PARTS}


def card(summary: dict[str, Any]) -> str:
    rows, parts = summary.get("classes") or [], counts(summary)
    most = max((row["count"] for row in rows), default=1) or 1
    said = f"{summary.get('count', 0):,} pictures in {len(rows)} classes"
    bars = "".join(
        f'<li><span title="{e(row["name"])}"><em>{e(row["name"])}</em><b>{row["count"]:,}</b></span>'
        f'<div class="mw-stack" style="width:{100 * row["count"] / most:.1f}%">{_stack(row)}</div></li>'
        for row in rows
    )
    key = "".join(f'<span><i class="{kind}"></i>{parts[part]:,} {name}</span>' for part, name, kind in PARTS if parts[part])
    return (
        f'<div class="mw-card mw-train" data-say="{e(said)}"><h3>{e(summary.get("name", ""))}: {e(said)}</h3>'
        f'<div class="mw-key">{key}</div><div class="mw-strip one">{_samples(summary)}</div>'
        f'<div class="mw-short" tabindex="0" role="region" aria-label="Pictures by class"><ul class="mw-bars">{bars}'
        f"</ul></div>{_warnings(summary)}{_problems(summary)}{_duplicates(summary)}</div>"
    )


def _stack(row: dict[str, Any]) -> str:
    return "".join(
        f'<i class="{kind}" style="width:{100 * row[part] / row["count"]:.1f}%" title="{row[part]} {name}"></i>'
        for part, name, kind in PARTS
        if row.get(part) and row["count"]
    )


def first_samples(summary: dict[str, Any], most: int) -> list[tuple[str, int, str]]:
    """``(class, number, thumbnail)``, one of each class first, then the second ones."""
    kept = summary.get("samples") or {}
    deepest = max((len(some) for some in kept.values()), default=0)
    found = [(name, k, some[k]) for k in range(deepest) for name, some in kept.items() if k < len(some) and some[k]]
    return found[:most]


def _samples(summary: dict[str, Any]) -> str:
    return "".join(
        f'<span title="{e(name)}">{picture(thumb, name)}</span>' for name, _, thumb in first_samples(summary, THUMBS)
    )


def _warnings(summary: dict[str, Any]) -> str:
    return "".join(f'<div class="mw-alert">{e(words)}</div>' for words in summary.get("warnings") or ())


def _problems(summary: dict[str, Any]) -> str:
    some, total = summary.get("problems") or [], int(summary.get("problems_count") or 0)
    if not some:
        return ""
    out = int(summary.get("left_out") or 0)
    head = f"{out:,} files are skipped" if out else "All files are used"
    rest = f"<li>and {total - len(some):,} more</li>" if total > len(some) else ""
    listed = "".join(
        f"<li><code>{e(p['name'])}</code>: {e(p['what'])}{' (used)' if p.get('used') else ''}</li>" for p in some
    )
    return (
        f"<details{' open' if total <= 3 else ''}><summary><b>{e(head)}</b>; {total:,} with problems</summary>"
        f'<ul class="mw-short">{listed}{rest}</ul></details>'
    )


def _duplicates(summary: dict[str, Any]) -> str:
    groups, total = summary.get("duplicates") or [], int(summary.get("duplicates_count") or 0)
    if not groups:
        return ""
    listed = "".join(
        f"<li>{' = '.join(f'<code>{e(name)}</code>' for name in group['files'])}"
        f"{' <b>in two ' + e(' and '.join(group['across_what'])) + '</b>' if group.get('across') else ''}</li>"
        for group in groups
    )
    word = "picture" if total == 1 else "pictures"
    return f'<details><summary>{total:,} duplicated {word}</summary><ul class="mw-short">{listed}</ul></details>'
