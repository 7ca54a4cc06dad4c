"""A dataset: labelled images in a folder, the problems found in them, and a fingerprint.

``scan`` opens every image, so uploads are scanned in a child process (``data_tasks.py``); ``load`` opens none. The
image folder is never written to: ``data.json`` and the cache are stored in ``home``.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath

from lib.errors import InvalidFile
from lib.train import scanning
from lib.train.layout import EXPECTED, MAX_CLASSES, Layout, display_name, layout
from lib.train.split import Split, split

__all__ = ["DataSet", "Item", "Problem", "Split"]
VERSION = 1


@dataclass(frozen=True, slots=True)
class Item:
    """``path`` is POSIX, relative to the dataset's folder; ``part`` is "", "train", "val" or "test", from folder names."""

    path: str
    label: int
    part: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Problem:
    """``used`` is True for images that were converted, False for files that are left out."""

    name: str
    what: str
    used: bool


class DataSet:
    """``folder`` holds the class folders (or the splits); ``items`` are sorted by path, ``classes`` by name."""

    def __init__(self, folder: Path, home: Path, classes: list[str], items: list[Item], problems: list[Problem]) -> None:
        self.folder, self.home = folder, home
        self.classes, self.items, self.problems = classes, items, problems
        self.fingerprint = _fingerprint(items)

    @classmethod
    def scan(
        cls,
        folder: Path,
        home: Path | None = None,
        progress: Callable[[str, float], None] | None = None,
        left_out: Iterable[tuple[str, str]] = (),
    ) -> DataSet:
        """Read every image below ``folder``. ``left_out`` lists problems already known, as (name, problem).

        ``home`` defaults to the folder's parent if the folder is called pictures, else to ``<folder>.workbench`` beside it.
        Raises InvalidFile unless there are at least 2 classes of 2 usable images each.
        """
        folder = Path(os.path.abspath(folder))
        if home is None:
            home = folder.parent if folder.name == "pictures" else folder.with_name(f"{folder.name}.workbench")
        detected = layout(folder)
        scanned = scanning.scan(detected.root, detected.labelled_files, progress)
        problems = [Problem(display_name(name), reason, False) for name, reason in [*left_out, *detected.problems]]
        for file, result in zip(detected.labelled_files, scanned, strict=True):
            if result.wrong:
                problems.append(Problem(display_name(file.path), result.wrong, False))
            elif result.notes:
                problems.append(Problem(display_name(file.path), "; ".join(result.notes), True))
        usable = [(file, result) for file, result in zip(detected.labelled_files, scanned, strict=True) if not result.wrong]
        classes = sorted({file.label for file, _ in usable})
        numbers = {name: number for number, name in enumerate(classes)}
        items = [Item(file.path, numbers[file.label], file.part, result.sha256) for file, result in usable]
        problems.sort(key=lambda problem: (problem.used, problem.name))
        _check(detected, classes, items, problems)
        return cls(detected.root, Path(os.path.abspath(home)), classes, items, problems)

    @property
    def cache(self) -> Path:
        """Where decoded pixels and features are cached."""
        return self.home / "cache"

    def path(self, index: int) -> Path:
        return self.folder / self.items[index].path

    def split(self, validation: float = 0.1, seed: int = 0) -> Split:
        """Keep the given splits; if there is no val, take it from train, per class. Deterministic across machines."""
        return split(self.items, validation, seed)

    def save(self, home: Path | None = None) -> Path:
        """Write ``data.json`` to ``home`` atomically; returns its path."""
        home = Path(os.path.abspath(home or self.home))
        home.mkdir(parents=True, exist_ok=True)
        inside = self.folder.is_relative_to(home)
        content = {
            "version": VERSION,
            "folder": self.folder.relative_to(home).as_posix() if inside else str(self.folder),
            "classes": self.classes,
            "items": [astuple(item) for item in self.items],
            "problems": [astuple(problem) for problem in self.problems],
            "fingerprint": self.fingerprint,
        }
        temporary = home / f".data-{secrets.token_hex(4)}.json"
        temporary.write_text(json.dumps(content))
        os.replace(temporary, home / "data.json")
        self.home = home
        return home / "data.json"

    @classmethod
    def load(cls, home: Path) -> DataSet:
        """Load what ``save`` wrote, without opening an image. Raises InvalidFile if it is missing or inconsistent."""
        home = Path(os.path.abspath(home))
        try:
            content = json.loads((home / "data.json").read_text())
            items = [Item(*row) for row in content["items"]]
            problems = [Problem(*row) for row in content["problems"]]
            data = cls(home / content["folder"], home, list(content["classes"]), items, problems)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidFile("There is no data set, or its data.json is damaged. Scan the pictures again.") from None
        outside = any(PurePosixPath(item.path).is_absolute() or ".." in item.path.split("/") for item in items)
        if content.get("version") != VERSION or outside or data.fingerprint != content["fingerprint"]:
            raise InvalidFile("The data set's data.json is inconsistent. Scan the pictures again.")
        return data


def _fingerprint(items: list[Item]) -> str:
    """Returns the SHA-256 over the sorted (path, SHA-256 of the file), as 64 hex digits."""
    digest = hashlib.sha256()
    for path, sha256 in sorted((item.path, item.sha256) for item in items):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


def _check(found: Layout, classes: list[str], items: list[Item], problems: list[Problem]) -> None:
    """Validate the dataset. Raises InvalidFile with a message that says what was found and how to fix it."""
    # duplicates count once: a class with one distinct image has none left to validate on
    usable = Counter(name for name, _ in {(classes[item.label], item.sha256) for item in items if item.part != "test"})
    trained = {classes[item.label] for item in items if item.part in ("", "train")}
    files = Counter(file.label for file in found.labelled_files)
    skipped = [problem for problem in problems if not problem.used]
    details = f" Left out: {'; '.join(f'{row.name} ({row.what})' for row in skipped[:3])}" if skipped else ""
    details += f"; and {len(skipped) - 3:,} more." if len(skipped) > 3 else "." if skipped else ""
    rule = "one of them in train/, and test/ does not count" if any(i.part for i in items) else "whole and undamaged"
    if not items:
        raise InvalidFile(f"No usable picture was found. {EXPECTED}{details}")
    too_small = [name for name in sorted(files) if usable[name] < 2 or name not in trained]
    if too_small and len(files) > 1:
        rest = f" and {len(too_small) - 3:,} more classes" if len(too_small) > 3 else ""
        few = ", ".join(f"{display_name(name)!r} ({usable[name]} of {files[name]:,} files)" for name in too_small[:3])
        raise InvalidFile(
            f"Too few usable pictures to learn from: {few}{rest}. Each class needs at least 2 different ones, {rule}. "
            f"Add pictures or remove the class folder.{details}"
        )
    if len(classes) < 2:
        raise InvalidFile(
            f"Only one class was found: {display_name(classes[0])!r} ({len(items):,} pictures). {EXPECTED}{details}"
        )
    if len(classes) > MAX_CLASSES:
        raise InvalidFile(f"{len(classes):,} classes were found; at most {MAX_CLASSES:,} can be trained. {EXPECTED}")
    if not split(items).val:
        raise InvalidFile("Every picture is in two classes, so none can be held out for validation. Keep one copy of each.")
