"""Reads every picture of a layout once, in threads: its hash, and what is wrong with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InvalidFile
from lib.train import pictures
from lib.train.layout import LabelledFile

MAX_TOTAL = 32 << 30  # bytes of all files
CHECKED_AT = 64  # pixels: a JPEG that is only checked is decoded at a fraction, which is quicker
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file: its hash where it is a usable picture, else ``wrong``; ``notes`` say what loading changes."""

    sha256: str = ""
    wrong: str = ""
    notes: tuple[str, ...] = ()


def scan(root: Path, labelled_files: list[LabelledFile], progress: Progress | None = None) -> list[ScannedFile]:
    """One Found for each place, in their order. Raises InvalidFile where the files are too many bytes."""
    total = sum(_size(root / file.path) for file in labelled_files)
    if total > MAX_TOTAL:
        raise InvalidFile(f"The pictures have {total >> 30:,} GB; at most {MAX_TOTAL >> 30} GB are read. Use fewer.")
    found: list[ScannedFile] = []
    with ThreadPoolExecutor(threads()) as pool:
        for one in pool.map(lambda file: scan_file(root / file.path), labelled_files):
            if progress is not None and len(found) % 50 == 0:
                progress("Reading the pictures", len(found) / len(labelled_files))
            found.append(one)
    return found


def threads(workers: int = 0) -> int:
    """0 is one a core; more than 8 only wait for memory and for Python's lock."""
    return workers or min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def scan_file(path: Path) -> ScannedFile:
    try:
        if path.stat().st_size > pictures.MAX_BYTES:
            return ScannedFile(wrong=f"bigger than {pictures.MAX_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError:
        return ScannedFile(wrong="cannot be read from the disk")
    try:
        reading = pictures.read(data, CHECKED_AT)
    except InvalidFile as error:
        return ScannedFile(wrong=error.message)
    notes, suffix = reading.notes, path.suffix.lower()
    if pictures.SUFFIXES.get(suffix) != reading.format:
        notes = (f"its content is {reading.format}, whatever its name says", *notes)
    return ScannedFile(hashlib.sha256(data).hexdigest(), notes=notes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
