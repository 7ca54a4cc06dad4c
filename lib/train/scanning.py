"""Reads every image of a layout once, in threads: computes its hash and detects problems."""

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

MAX_TOTAL = 32 << 30  # bytes in total
CHECKED_AT = 64  # pixels: a JPEG is decoded at reduced size for the check, which is faster
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """The result for a file: its hash if the image is usable, else ``wrong``; ``notes`` list what loading changes."""

    sha256: str = ""
    wrong: str = ""
    notes: tuple[str, ...] = ()


def scan(root: Path, labelled_files: list[LabelledFile], progress: Progress | None = None) -> list[ScannedFile]:
    """Returns one ``ScannedFile`` per file, in order. Raises InvalidFile if the files are too large in total."""
    total = sum(_size(root / file.path) for file in labelled_files)
    if total > MAX_TOTAL:
        raise InvalidFile(f"The pictures take up {total >> 30:,} GB; at most {MAX_TOTAL >> 30} GB are allowed. Use fewer.")
    results: list[ScannedFile] = []
    with ThreadPoolExecutor(threads()) as pool:
        for result in pool.map(lambda file: scan_file(root / file.path), labelled_files):
            if progress is not None and len(results) % 50 == 0:
                progress("Reading the pictures", len(results) / len(labelled_files))
            results.append(result)
    return results


def threads(workers: int = 0) -> int:
    """Returns the number of threads. 0 means one per core, at most 8: more only wait for memory bandwidth and the GIL."""
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
        notes = (f"its content is {reading.format}, despite its name", *notes)
    return ScannedFile(hashlib.sha256(data).hexdigest(), notes=notes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
