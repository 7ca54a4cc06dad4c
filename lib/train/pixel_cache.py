"""Decodes and resizes every image of a dataset once and stores them as one array on disk."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lib.errors import InvalidFile
from lib.train import pictures
from lib.train.data import DataSet
from lib.train.layout import display_name
from lib.train.scanning import threads

ABANDONED = 3600.0  # seconds without a write


def pixels(
    data: DataSet, size: int, cache: Path, progress: Callable[[str, float], None] | None = None, workers: int = 0
) -> np.memmap:
    """Returns uint8 [n, size, size, 3] in the order of ``data.items``, as a read-only memory map.

    The file is written under a temporary name and renamed, so it is always complete. Raises InvalidFile if an image changed
    since the scan.
    """
    shape = (len(data.items), size, size, 3)
    cache_file = cache / f"pixels-{data.fingerprint[:16]}-{size}.npy"
    try:
        cached = np.load(cache_file, mmap_mode="r")
        if cached.shape == shape and cached.dtype == np.uint8:
            return cached
    except (OSError, ValueError):  # missing or damaged: rebuild it
        pass
    cache.mkdir(parents=True, exist_ok=True)
    for leftover in cache.glob(".pixels-*"):  # left by a killed process
        if time.time() - leftover.stat().st_mtime > ABANDONED:
            leftover.unlink(missing_ok=True)
    temporary = cache / f".{cache_file.stem}-{secrets.token_hex(4)}.npy"
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)

        def fill(index: int) -> None:
            array[index] = _squashed(data, index, size)

        with ThreadPoolExecutor(threads(workers)) as pool:
            for done, _ in enumerate(pool.map(fill, range(len(data.items)))):
                if progress is not None and done % 50 == 0:
                    progress("Preparing the pictures", done / len(data.items))
        array.flush()
        os.replace(temporary, cache_file)
    finally:
        temporary.unlink(missing_ok=True)
    return np.load(cache_file, mmap_mode="r")


def _squashed(data: DataSet, index: int, size: int) -> np.ndarray:
    item = data.items[index]
    try:
        content = data.path(index).read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != item.sha256:
        raise InvalidFile(f"{display_name(item.path)} was changed or removed since the data set was scanned. Scan it again.")
    return pictures.resize(pictures.read(content).pixels, size)
