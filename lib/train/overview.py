"""What a person should know of a data set before training: counts, doubles, warnings, samples. JSON for the page."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from typing import Any

from lib.errors import InvalidFile
from lib.train import pictures
from lib.train.data import DataSet
from lib.train.layout import PARTS, shown
from lib.train.split import order

MOST_PROBLEMS, MOST_DUPLICATES, MOST_FILES, MOST_SAMPLES = 200, 50, 10, 240
FEW, UNEVEN = 20, 3.0  # pictures a class; largest ÷ smallest class


def summary(data: DataSet, samples: int = 4) -> dict[str, Any]:
    """Counts by class are those of ``split()`` with its defaults; ``samples`` are base64 JPEGs of at most 96 pixels."""
    parts = data.split()
    counts = {name: Counter(data.items[i].label for i in getattr(parts, name)) for name in ("train", "val", "test")}
    classes = [
        {"name": name, "count": sum(c[label] for c in counts.values())} | {part: c[label] for part, c in counts.items()}
        for label, name in enumerate(data.classes)
    ]
    sizes = [row["count"] for row in classes]
    doubles = _duplicates(data)
    return {
        "classes": classes,
        "count": len(data.items),
        "fingerprint": data.fingerprint,
        "imbalance": round(max(sizes) / min(sizes), 2),
        "duplicates": [row | {"files": row["files"][:MOST_FILES]} for row in doubles[:MOST_DUPLICATES]],
        "duplicates_count": len(doubles),
        "problems": [{"name": p.name, "what": p.what, "used": p.used} for p in data.problems[:MOST_PROBLEMS]],
        "problems_count": len(data.problems),
        "left_out": sum(not p.used for p in data.problems),
        "warnings": _warnings(data, classes, doubles),
        "samples": _samples(data, samples),
    }


def _duplicates(data: DataSet) -> list[dict[str, Any]]:
    """Groups of equal files; those across classes or given parts first."""
    groups = defaultdict(list)
    for item in data.items:
        groups[item.sha256].append(item)
    rows = []
    for group in groups.values():
        if len(group) > 1:
            labels, parts = {item.label for item in group}, {item.part for item in group}
            kinds = [word for word, several in (("classes", len(labels) > 1), ("parts", len(parts) > 1)) if several]
            files = [shown(item.path) for item in group]
            rows.append({"files": files, "count": len(files), "across": bool(kinds), "across_what": kinds})
    return sorted(rows, key=lambda row: not row["across"])


def _warnings(data: DataSet, classes: list[dict[str, Any]], doubles: list[dict[str, Any]]) -> list[str]:
    said = []
    small = [row["name"] for row in classes if row["train"] + row["val"] < FEW]
    if small:
        said.append(f"Fewer than {FEW} pictures to learn from in {_listed(small)}: expect errors there.")
    low, high = min(classes, key=lambda row: row["count"]), max(classes, key=lambda row: row["count"])
    if high["count"] > UNEVEN * low["count"]:
        said.append(
            f"The classes are uneven: {shown(high['name'])} has {high['count']:,} pictures, {shown(low['name'])} "
            f"{low['count']:,}. Class weights can even that out."
        )
    for part, what in (("val", "validation"), ("test", "test")):
        without = [row["name"] for row in classes if not row[part]]
        if without and len(without) < len(classes):
            said.append(f"No {what} picture of {_listed(without)}: nothing will be known of it there.")
    across = Counter(kind for row in doubles for kind in row["across_what"])
    if across["classes"]:
        said.append(f"{_pictures(across['classes'])} under two classes: only one can be right.")
    if across["parts"]:
        said.append(f"{_pictures(across['parts'])} in two of train, val and test: the result will look too good.")
    words = [name for name in data.classes if name.lower() in PARTS]
    if words:
        said.append(
            f"A class is called {_listed(words)}. If that is a part of the data, not a class, put all class folders "
            "into train/, val/ and test/."
        )
    low_names = Counter(name.casefold() for name in data.classes)
    alike = [name for name in data.classes if low_names[name.casefold()] > 1]
    if alike:
        said.append(f"Classes differ only in upper and lower case, and are kept apart: {_listed(alike)}.")
    return said


def _pictures(number: int) -> str:
    return f"{number:,} pictures stand" if number > 1 else "1 picture stands"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(shown(name) for name in names[:5]) + more


def _samples(data: DataSet, samples: int) -> dict[str, list[str]]:
    """Some of each class, drawn by hash, as the split does it; at most ``MOST_SAMPLES`` in all."""
    each = min(samples, max(1, MOST_SAMPLES // len(data.classes)))
    by_class = defaultdict(list)
    for index, item in enumerate(data.items):
        by_class[item.label].append(index)
    shown_ones = {}
    for label, name in enumerate(data.classes[:MOST_SAMPLES]):
        drawn = sorted(by_class[label], key=lambda i: order("samples", data.items[i].sha256))[:each]
        shown_ones[name] = [text for i in drawn if (text := _thumbnail(data, i))]
    return shown_ones


def _thumbnail(data: DataSet, index: int) -> str:
    try:
        return base64.b64encode(pictures.thumbnail(pictures.load(data.path(index), about=192))).decode()
    except InvalidFile:  # removed since the scan
        return ""
