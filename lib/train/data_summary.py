"""Summarizes a dataset before training: counts, duplicates, warnings and samples."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from lib.errors import InvalidFile
from lib.train import pictures
from lib.train.data import DataSet, Problem
from lib.train.layout import PARTS, display_name
from lib.train.split import order

MAX_PROBLEMS, MAX_DUPLICATES, MAX_FILES, MAX_SAMPLES = 200, 50, 10, 240
MIN_PER_CLASS, MAX_IMBALANCE = 20, 3.0  # images per class; largest class ÷ smallest class


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """Images of a class: ``count`` in total and per split, as ``DataSet.split`` divides them by default."""

    name: str = ""
    count: int = 0
    train: int = 0
    val: int = 0
    test: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """``count`` identical files; ``files`` are the paths of the first ``MAX_FILES``.

    ``across_what`` says whether they occur in several "classes" or "parts"; ``across`` is True if it is not empty.
    """

    files: list[str]
    count: int = 0
    across: bool = False
    across_what: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """``name`` is the visitor's name for the dataset, ``count`` its number of images, ``fingerprint`` 64 hex digits.

    ``imbalance`` is the size of the largest class divided by that of the smallest. ``duplicates`` and ``problems`` hold the
    first of ``duplicates_count`` and ``problems_count``; ``left_out`` counts files that are not used. ``warnings`` are full
    sentences. ``samples`` are base64 JPEGs by class, at most 96 pixels a side. Summaries stored by an older version may lack
    fields.
    """

    name: str = ""
    classes: list[ClassCount] = field(default_factory=list)
    count: int = 0
    fingerprint: str = ""
    imbalance: float = 1.0
    duplicates: list[Duplicates] = field(default_factory=list)
    duplicates_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    problems_count: int = 0
    left_out: int = 0
    warnings: list[str] = field(default_factory=list)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def pictures(self, part: str) -> int:
        """Returns the number of images in ``part``: train, val or test."""
        return sum(getattr(row, part) for row in self.classes)


def summarize(data: DataSet, name: str = "", samples: int = 4) -> DataSummary:
    """Summarize ``data``, with ``samples`` images per class. Opens images, so uploads are summarized in a child process."""
    parts = data.split()
    counts = {part: Counter(data.items[i].label for i in getattr(parts, part)) for part in ("train", "val", "test")}
    classes = [
        ClassCount(
            name=class_name, count=sum(c[label] for c in counts.values()), **{part: c[label] for part, c in counts.items()}
        )
        for label, class_name in enumerate(data.classes)
    ]
    sizes = [row.count for row in classes]
    duplicates = _duplicates(data)
    return DataSummary(
        name=name,
        classes=classes,
        count=len(data.items),
        fingerprint=data.fingerprint,
        imbalance=round(max(sizes) / min(sizes), 2),
        duplicates=[replace(row, files=row.files[:MAX_FILES]) for row in duplicates[:MAX_DUPLICATES]],
        duplicates_count=len(duplicates),
        problems=data.problems[:MAX_PROBLEMS],
        problems_count=len(data.problems),
        left_out=sum(not p.used for p in data.problems),
        warnings=_warnings(data, classes, duplicates),
        samples=_samples(data, samples),
    )


def _duplicates(data: DataSet) -> list[Duplicates]:
    """Returns groups of identical files, those across classes or given splits first."""
    groups = defaultdict(list)
    for item in data.items:
        groups[item.sha256].append(item)
    rows = []
    for group in groups.values():
        if len(group) > 1:
            labels, parts = {item.label for item in group}, {item.part for item in group}
            kinds = [word for word, several in (("classes", len(labels) > 1), ("parts", len(parts) > 1)) if several]
            files = [display_name(item.path) for item in group]
            rows.append(Duplicates(files=files, count=len(files), across=bool(kinds), across_what=kinds))
    return sorted(rows, key=lambda row: not row.across)


def _warnings(data: DataSet, classes: list[ClassCount], duplicates: list[Duplicates]) -> list[str]:
    warnings = []
    small = [row.name for row in classes if row.train + row.val < MIN_PER_CLASS]
    if small:
        warnings.append(f"Fewer than {MIN_PER_CLASS} pictures to learn from in {_listed(small)}: expect errors there.")
    low, high = min(classes, key=lambda row: row.count), max(classes, key=lambda row: row.count)
    if high.count > MAX_IMBALANCE * low.count:
        warnings.append(
            f"The classes are imbalanced: {display_name(high.name)} has {high.count:,} pictures, {display_name(low.name)} "
            f"{low.count:,}. Class weights can compensate for that."
        )
    for part, split in (("val", "validation"), ("test", "test")):
        missing = [row.name for row in classes if not getattr(row, part)]
        if missing and len(missing) < len(classes):
            warnings.append(f"No {split} pictures of {_listed(missing)}: nothing can be measured there.")
    across = Counter(kind for row in duplicates for kind in row.across_what)
    if across["classes"]:
        warnings.append(f"{_pictures(across['classes'])} in two classes: only one can be right.")
    if across["parts"]:
        warnings.append(f"{_pictures(across['parts'])} in two of train, val and test: the result will look too good.")
    reserved = [name for name in data.classes if name.lower() in PARTS]
    if reserved:
        warnings.append(
            f"A class is called {_listed(reserved)}. If that is a split rather than a class, put all class folders "
            "into train/, val/ and test/."
        )
    lowercase = Counter(name.casefold() for name in data.classes)
    ambiguous = [name for name in data.classes if lowercase[name.casefold()] > 1]
    if ambiguous:
        warnings.append(f"Classes differ only in upper and lower case, and are kept separate: {_listed(ambiguous)}.")
    return warnings


def _pictures(number: int) -> str:
    return f"{number:,} pictures are" if number > 1 else "1 picture is"


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(display_name(name) for name in names[:5]) + rest


def _samples(data: DataSet, samples: int) -> dict[str, list[str]]:
    """Draw up to ``samples`` images per class, ordered by hash like the split; at most ``MAX_SAMPLES`` in total."""
    per_class = min(samples, max(1, MAX_SAMPLES // len(data.classes)))
    by_class = defaultdict(list)
    for index, item in enumerate(data.items):
        by_class[item.label].append(index)
    thumbnails = {}
    for label, name in enumerate(data.classes[:MAX_SAMPLES]):
        drawn = sorted(by_class[label], key=lambda i: order("samples", data.items[i].sha256))[:per_class]
        thumbnails[name] = [text for i in drawn if (text := _thumbnail(data, i))]
    return thumbnails


def _thumbnail(data: DataSet, index: int) -> str:
    try:
        return base64.b64encode(pictures.thumbnail(pictures.load(data.path(index), about=192))).decode()
    except InvalidFile:  # removed since the scan
        return ""
