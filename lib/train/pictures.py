"""Resizes images to a square and makes thumbnails. Reading is shared (``lib/pictures.py``). Uses PIL and NumPy only."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from lib.pictures import FORMATS, MAX_BYTES, MAX_PIXELS, SUFFIXES, Reading, load, read

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "SUFFIXES", "Reading", "load", "read", "resize", "thumbnail"]


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize the whole image to uint8 [size, size, 3], ignoring its aspect ratio, as MediaPipe does on a phone.

    Bilinear with half-pixel centres and no antialiasing: torch's ``interpolate(mode="bilinear", align_corners=False,
    antialias=False)``, rounded to integers.
    """
    height, width = picture.shape[:2]
    if height == width == size:
        return picture
    top, bottom, down = _between(height, size)
    if height < 2 * size:  # resizing every row once is cheaper than gathering 2 * size rows
        wide = _across(picture, size)
        upper, lower = wide[top], wide[bottom]
    else:
        upper, lower = _across(picture[top], size), _across(picture[bottom], size)
    lower -= upper
    lower *= down[:, None, None]
    upper += lower
    return np.rint(upper, out=upper).astype(np.uint8)


def _across(rows: np.ndarray, size: int) -> np.ndarray:
    """Resize along the width: uint8 [n, w, 3] -> float32 [n, size, 3]."""
    left, right, share = _between(rows.shape[1], size)
    output = rows.take(left, axis=1).astype(np.float32)
    delta = rows.take(right, axis=1) - output
    delta *= share[:, None]
    output += delta
    return output


def _between(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns, for each output position, its two neighbours (int64) and the weight of the second (float32)."""
    position = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0)
    first = np.minimum(position.astype(np.int64), old - 1)
    return first, np.minimum(first + 1, old - 1), (position - first).astype(np.float32)


def thumbnail(picture: np.ndarray, side: int = 96) -> bytes:
    """Returns a JPEG of at most ``side`` pixels per side, antialiased, with the aspect ratio kept."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
