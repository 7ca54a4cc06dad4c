"""The card of a data set: counts, bars per class, samples and problems."""

from __future__ import annotations

from markupsafe import Markup

from lib.train.data_summary import ClassCount, DataSummary
from web import cards
from web.html import code, html, join

from .view import OPEN, picture

THUMBS = 12
PARTS = (("train", "training", "t"), ("val", "validation", "v"), ("test", "test", "x"))


def card(summary: DataSummary) -> Markup:
    rows, parts = summary.classes, {part: summary.pictures(part) for part, _, _ in PARTS}
    largest = max((row.count for row in rows), default=1) or 1
    count_text = f"{summary.count:,} pictures in {len(rows)} classes"
    key = join(
        html('<span><i class="{}"></i>{:,} {}</span>', kind, parts[part], name) for part, name, kind in PARTS if parts[part]
    )
    return cards.card(
        html('<h3>{}: {}</h3><div class="mw-key">{}</div>', summary.name, count_text, key),
        html('<div class="mw-strip one">{}</div>', _samples(summary)),
        html(
            '<div class="mw-short" tabindex="0" role="region" aria-label="Pictures by class">'
            '<ul class="mw-bars">{}</ul></div>',
            join(_bar(row, largest) for row in rows),
        ),
        *(html('<div class="mw-alert">{}</div>', warning) for warning in summary.warnings),
        _problems(summary),
        _duplicates(summary),
        kind="mw-train",
        say=count_text,
    )


def _bar(row: ClassCount, most: int) -> Markup:
    return html(
        '<li><span title="{0.name}"><em>{0.name}</em><b>{0.count:,}</b></span>'
        '<div class="mw-stack" style="width:{1:.1f}%">{2}</div></li>',
        row,
        100 * row.count / most,
        _stack(row),
    )


def _stack(row: ClassCount) -> Markup:
    return join(
        html('<i class="{}" style="width:{:.1f}%" title="{} {}"></i>', kind, 100 * count / row.count, count, name)
        for part, name, kind in PARTS
        if (count := getattr(row, part)) and row.count
    )


def first_samples(summary: DataSummary, most: int) -> list[tuple[str, int, str]]:
    """Return up to ``most`` samples as ``(class, index, thumbnail)``: the first of each class, then the second, etc."""
    kept = summary.samples
    longest = max((len(thumbs) for thumbs in kept.values()), default=0)
    samples = [
        (name, k, thumbs[k]) for k in range(longest) for name, thumbs in kept.items() if k < len(thumbs) and thumbs[k]
    ]
    return samples[:most]


def _samples(summary: DataSummary) -> Markup:
    samples = first_samples(summary, THUMBS)
    return join(html('<span title="{}">{}</span>', name, picture(thumb, name)) for name, _, thumb in samples)


def _problems(summary: DataSummary) -> Markup:
    problems, total = summary.problems, summary.problems_count
    if not problems:
        return Markup()
    head = f"{summary.left_out:,} files are skipped" if summary.left_out else "All files are used"
    lines = [html("<li>{}: {}{}</li>", code(p.name), p.what, " (used)" if p.used else "") for p in problems]
    lines += [html("<li>and {:,} more</li>", total - len(problems))] if total > len(problems) else []
    return _fold(html("<b>{}</b>; {:,} with problems", head, total), lines, total <= 3)


def _duplicates(summary: DataSummary) -> Markup:
    groups, total = summary.duplicates, summary.duplicates_count
    if not groups:
        return Markup()
    lines = []
    for group in groups:
        across = html(" <b>in two {}</b>", " and ".join(group.across_what)) if group.across else ""
        lines.append(html("<li>{}{}</li>", join(map(code, group.files), " = "), across))
    return _fold(f"{total:,} duplicated {'picture' if total == 1 else 'pictures'}", lines)


def _fold(head: str, lines: list[Markup], opened: bool = False) -> Markup:
    fold = OPEN if opened else ""
    return html('<details{}><summary>{}</summary><ul class="mw-short">{}</ul></details>', fold, head, join(lines))
