"""A data set: labelled pictures in a folder, what is wrong with them, and their fingerprint.

``scan`` opens every picture, so uploaded ones are scanned in a child process (``data_tasks.py``); ``load``
opens none. The pictures' folder is never written to: ``data.json`` and the cache stand in ``home``.
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
    """``path`` is posix, below the data set's folder; ``part`` is "", "train", "val" or "test" as given by folders."""

    path: str
    label: int
    part: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Problem:
    """``used`` pictures were converted; the others are left out."""

    name: str
    what: str
    used: bool


class DataSet:
    """``folder`` holds the class folders (or the parts); ``items`` are sorted by path, ``classes`` by name."""

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
        """Reads every picture below ``folder``. ``left_out`` are problems known before: (name, what).

        ``home`` is by default the folder's parent where the folder is called pictures, else ``<folder>.workbench``
        beside it. Raises InvalidFile where there are not 2 classes of 2 usable pictures each.
        """
        folder = Path(os.path.abspath(folder))
        if home is None:
            home = folder.parent if folder.name == "pictures" else folder.with_name(f"{folder.name}.workbench")
        found = layout(folder)
        looks = scanning.scan(found.root, found.labelled_files, progress)
        problems = [Problem(display_name(name), what, False) for name, what in [*left_out, *found.problems]]
        for file, look in zip(found.labelled_files, looks, strict=True):
            if look.wrong:
                problems.append(Problem(display_name(file.path), look.wrong, False))
            elif look.notes:
                problems.append(Problem(display_name(file.path), "; ".join(look.notes), True))
        good = [(file, look) for file, look in zip(found.labelled_files, looks, strict=True) if not look.wrong]
        classes = sorted({file.label for file, _ in good})
        numbers = {name: number for number, name in enumerate(classes)}
        items = [Item(file.path, numbers[file.label], file.part, look.sha256) for file, look in good]
        problems.sort(key=lambda problem: (problem.used, problem.name))
        _check(found, classes, items, problems)
        return cls(found.root, Path(os.path.abspath(home)), classes, items, problems)

    @property
    def cache(self) -> Path:
        """Where decoded pixels and features may be kept."""
        return self.home / "cache"

    def path(self, index: int) -> Path:
        return self.folder / self.items[index].path

    def split(self, validation: float = 0.1, seed: int = 0) -> Split:
        """Given parts are kept; a missing val is cut from train by class. The same on every machine."""
        return split(self.items, validation, seed)

    def save(self, home: Path | None = None) -> Path:
        """Writes ``data.json`` there (or at home) at once and whole; returns its path."""
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
        beside = home / f".data-{secrets.token_hex(4)}.json"
        beside.write_text(json.dumps(content))
        os.replace(beside, home / "data.json")
        self.home = home
        return home / "data.json"

    @classmethod
    def load(cls, home: Path) -> DataSet:
        """What ``save`` wrote; opens no picture. Raises InvalidFile where there is none or it does not hold together."""
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
            raise InvalidFile("The data set's data.json does not hold together. Scan the pictures again.")
        return data


def _fingerprint(items: list[Item]) -> str:
    """sha256 over the sorted (path, sha256 of the bytes), 64 hex digits."""
    total = hashlib.sha256()
    for path, sha256 in sorted((item.path, item.sha256) for item in items):
        total.update(f"{path}\0{sha256}\n".encode())
    return total.hexdigest()


def _check(found: Layout, classes: list[str], items: list[Item], problems: list[Problem]) -> None:
    """Raises InvalidFile that says what was found, what is expected and what to do."""
    # copies count once: a class of one picture has none to be asked about
    usable = Counter(name for name, _ in {(classes[item.label], item.sha256) for item in items if item.part != "test"})
    learnt = {classes[item.label] for item in items if item.part in ("", "train")}
    files = Counter(file.label for file in found.labelled_files)
    bad = [problem for problem in problems if not problem.used]
    more = f" Left out: {'; '.join(f'{one.name} ({one.what})' for one in bad[:3])}" if bad else ""
    more += f"; and {len(bad) - 3:,} more." if len(bad) > 3 else "." if bad else ""
    where = "one of them in train/, and test/ does not count" if any(i.part for i in items) else "whole and undamaged"
    if not items:
        raise InvalidFile(f"No usable picture was found. {EXPECTED}{more}")
    poor = [name for name in sorted(files) if usable[name] < 2 or name not in learnt]
    if poor and len(files) > 1:
        rest = f" and {len(poor) - 3:,} more classes" if len(poor) > 3 else ""
        few = ", ".join(f"{display_name(name)!r} ({usable[name]} of {files[name]:,} files)" for name in poor[:3])
        raise InvalidFile(
            f"Too few usable pictures to learn from: {few}{rest}. Each class needs at least 2 different ones, {where}. "
            f"Add pictures or remove the class folder.{more}"
        )
    if len(classes) < 2:
        raise InvalidFile(
            f"Only one class was found: {display_name(classes[0])!r} ({len(items):,} pictures). {EXPECTED}{more}"
        )
    if len(classes) > MAX_CLASSES:
        raise InvalidFile(f"{len(classes):,} classes were found; at most {MAX_CLASSES:,} can be trained. {EXPECTED}")
    if not split(items).val:
        raise InvalidFile(
            "Every picture stands under two classes, so none can be kept for validation. Keep one copy of each."
        )
