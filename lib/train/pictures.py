"""Squashes pictures to a square, and makes thumbnails. Reading them is shared (``lib/pictures.py``). PIL and numpy only."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from lib.pictures import FORMATS, MAX_BYTES, MAX_PIXELS, SUFFIXES, Reading, load, read

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "SUFFIXES", "Reading", "load", "read", "resize", "thumbnail"]


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """uint8 [size, size, 3]: the whole picture squashed, as MediaPipe does it on a phone.

    Bilinear with half-pixel centres and no antialiasing: torch's ``interpolate(mode="bilinear",
    align_corners=False, antialias=False)``, rounded to whole numbers.
    """
    height, width = picture.shape[:2]
    if height == width == size:
        return picture
    top, bottom, down = _between(height, size)
    if height < 2 * size:  # fewer rows than the new picture needs twice: all of them first
        wide = _across(picture, size)
        upper, lower = wide[top], wide[bottom]
    else:
        upper, lower = _across(picture[top], size), _across(picture[bottom], size)
    lower -= upper
    lower *= down[:, None, None]
    upper += lower
    return np.rint(upper, out=upper).astype(np.uint8)


def _across(rows: np.ndarray, size: int) -> np.ndarray:
    """uint8 [n, w, 3] -> float32 [n, size, 3]."""
    left, right, share = _between(rows.shape[1], size)
    one = rows.take(left, axis=1).astype(np.float32)
    other = rows.take(right, axis=1) - one
    other *= share[:, None]
    one += other
    return one


def _between(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new place: the old places on its two sides, int64, and how far it lies between them, float32."""
    place = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0)
    first = np.minimum(place.astype(np.int64), old - 1)
    return first, np.minimum(first + 1, old - 1), (place - first).astype(np.float32)


def thumbnail(picture: np.ndarray, side: int = 96) -> bytes:
    """A JPEG of at most ``side`` pixels a side, antialiased, its aspect kept."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
