"""Groups and order of the targets on the page. The most likely target comes first."""

from __future__ import annotations

from typing import Any

from lib.convert.formats import FORMATS

FORMATS_, SMALLER, SAME = "Formats", "Smaller", "Same format"
GROUPS = (FORMATS_, SMALLER, SAME)
LOSSY = ("fp16", "int8")

Target = dict[str, Any]


def group(target: Target, source: str) -> str:
    """Return the group of a target that ``describe`` offers for the format ``source``."""
    if target.get("precision") in LOSSY:
        return SMALLER
    return SAME if FORMATS[target["target"]].base == source else FORMATS_


def grouped(targets: list[Target], source: str) -> dict[str, list[Target]]:
    groups: dict[str, list[Target]] = {name: [] for name in GROUPS}
    for target in sorted(targets, key=rank):
        groups[group(target, source)].append(target)
    return groups


def first(targets: list[Target]) -> str | None:
    """Return the default target, or None if there are no targets."""
    return min(targets, key=rank)["target"] if targets else None


def rank(target: Target) -> int:
    return FORMATS[target["target"]].place
