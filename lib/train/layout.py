"""Detects the classes in a folder: the class and split of each image file.

Opens no files. ``root`` is the folder that contains the class folders, at any depth below the given one. A level whose
folders are all named train, val or test holds splits, either above the classes or inside each of them.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from lib.archives import is_litter
from lib.errors import InvalidFile
from lib.train.pictures import SUFFIXES

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= {"val": "val", "valid": "val", "validation": "val"}
MAX_PICTURES, MAX_FILES, MAX_DEPTH, MAX_CLASSES = 50_000, 200_000, 30, 1_000
EXPECTED = "Expected: one folder per class with at least 2 pictures in each, such as cats/1.jpg, cats/2.jpg, dogs/1.jpg …"

EMPTY = "folder without usable files"
BESIDE = "outside the class folders, so it has no class"


@dataclass(slots=True)
class Tree:
    """A folder with its subfolders; ``files`` are the names of the files directly in it."""

    name: str
    files: list[str] = field(default_factory=list)
    folders: dict[str, Tree] = field(default_factory=dict)

    def has_pictures(self) -> bool:
        """Returns whether a file at any depth has an image suffix or no suffix."""
        return any(_may_be_picture(name) for name in self.files) or any(t.has_pictures() for t in self.folders.values())

    def below(self, prefix: str = "") -> list[str]:
        """Returns every file at any depth as a POSIX path."""
        paths = [prefix + name for name in self.files]
        for name, tree in self.folders.items():
            paths += tree.below(f"{prefix}{name}/")
        return paths


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file: its POSIX path relative to the root, its class (NFC) and its split ("" if none)."""

    path: str
    label: str
    part: str


@dataclass(frozen=True, slots=True)
class Layout:
    root: Path
    labelled_files: list[LabelledFile]
    problems: list[tuple[str, str]]  # (name, problem)


def display_name(name: str) -> str:
    """Returns the name with unprintable characters replaced, in at most 120 characters."""
    clean = "".join(c if c.isprintable() else "?" for c in name)
    return clean if len(clean) <= 120 else f"{clean[:80]}…{clean[-39:]}"


def layout(folder: Path) -> Layout:
    """Returns the layout of ``folder``. Raises InvalidFile if the folder is missing or holds too many files."""
    if not folder.is_dir():
        raise InvalidFile(f"The folder {display_name(folder.name)!r} is missing or unreadable. {EXPECTED}")
    problems: list[tuple[str, str]] = []
    tree = _walk(folder, "", problems, [0], 0)
    _prune(tree, "", problems)
    at, tree = _descend(tree, "", problems)
    problems = [(name.removeprefix(display_name(at)) if at else name, reason) for name, reason in problems]
    labelled_files = _labelled_files(tree, problems)
    return Layout(folder / at, labelled_files, problems)


def _prune(tree: Tree, at: str, problems: list[tuple[str, str]]) -> None:
    """Drop folders without images that lie beside folders with images: they are neither classes nor splits."""
    if tree.files and any(map(_may_be_picture, tree.files)):
        return
    imageless = [name for name, inner in tree.folders.items() if not inner.has_pictures()]
    if len(imageless) < len(tree.folders):
        for name in imageless:
            del tree.folders[name]
            problems.append((display_name(f"{at}{name}"), "folder without a picture"))
    for name, inner in tree.folders.items():
        _prune(inner, f"{at}{name}/", problems)


def _descend(tree: Tree, at: str, problems: list[tuple[str, str]], in_part: bool = False) -> tuple[str, Tree]:
    """Descend to the level that branches, past folders that hold a single folder and no image."""
    while len(tree.folders) == 1 and (in_part or not _is_parts(tree)) and not any(map(_is_picture, tree.files)):
        ((name, child),) = tree.folders.items()
        if not child.folders:
            break
        problems += [(display_name(at + file), "outside the class folders") for file in tree.files]
        tree, at = child, f"{at}{name}/"
    return at, tree


def _walk(folder: Path, at: str, problems: list[tuple[str, str]], count: list[int], depth: int) -> Tree:
    tree = Tree(folder.name)
    try:
        with os.scandir(folder) as entries:
            listing = []
            for entry in entries:  # count while listing: a folder may hold millions
                count[0] += 1
                if count[0] > MAX_FILES:
                    raise InvalidFile(f"The data set has more than {MAX_FILES:,} files. Use a smaller part of it.")
                listing.append(entry)
    except OSError:
        problems.append((display_name(at.rstrip("/")) or "the folder", "folder cannot be read"))
        return tree
    for entry in sorted(listing, key=lambda one: one.name):
        previous = len(problems)
        name = entry.name
        reason = _rejection(entry)
        if reason is None and entry.is_dir(follow_symlinks=False):
            if depth >= MAX_DEPTH:
                reason = f"more than {MAX_DEPTH} folders deep"
            else:
                inner = _walk(folder / name, f"{at}{name}/", problems, count, depth + 1)
                if inner.files or inner.folders:
                    tree.folders[name] = inner
                else:
                    reason = EMPTY
                    problems[previous:] = [one for one in problems[previous:] if one[1] != EMPTY]  # outermost only
        elif reason is None:
            tree.files.append(name)
        if reason is not None:
            problems.append((display_name(at + name), reason))
    return tree


def _rejection(entry: os.DirEntry[str]) -> str | None:
    """Returns why the entry is left out, or None."""
    if entry.is_symlink():
        return "link: not followed"
    if entry.name == "__MACOSX" or is_litter(entry.name):
        return "created by a file manager"
    if entry.name.startswith("."):
        return "hidden"
    if any(0xD800 <= ord(c) < 0xE000 for c in entry.name):
        return "its name is not valid Unicode: rename it"
    if any(ord(c) < 32 or ord(c) == 127 for c in entry.name):
        return "its name contains control characters: rename it"
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    return None


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _may_be_picture(name: str) -> bool:
    return _is_picture(name) or not os.path.splitext(name)[1]


def _is_parts(tree: Tree) -> bool:
    return bool(tree.folders) and all(name.lower() in PARTS for name in tree.folders)


def _labelled_files(tree: Tree, problems: list[tuple[str, str]]) -> list[LabelledFile]:
    labelled_files: list[LabelledFile] = []
    levels = [("", "", tree)]
    if _is_parts(tree):
        if not any(part.folders for part in tree.folders.values()):
            names = " and ".join(display_name(name) for name in list(tree.folders)[:3])
            raise InvalidFile(f"There are no class folders in {names}: their pictures have no class. {EXPECTED}")
        problems += [(display_name(file), BESIDE) for file in tree.files]
        levels = [
            (PARTS[name.lower()], *_descend(child, f"{name}/", problems, True)) for name, child in tree.folders.items()
        ]
    for part, at, level in levels:
        problems += [(display_name(at + file), BESIDE) for file in level.files]
        inside = part == "" and bool(level.folders) and all(_is_parts(c) and not c.files for c in level.folders.values())
        for name, child in level.folders.items():
            label = unicodedata.normalize("NFC", name)
            for path in child.below():
                split = PARTS[path.partition("/")[0].lower()] if inside else part
                labelled_files.append(LabelledFile(f"{at}{name}/{path}", label, split))
    if len(labelled_files) > MAX_PICTURES:
        raise InvalidFile(
            f"The data set has {len(labelled_files):,} pictures; at most {MAX_PICTURES:,} are allowed. Use fewer."
        )
    return sorted(labelled_files, key=lambda place: place.path)
