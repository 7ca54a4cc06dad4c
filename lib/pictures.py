"""Decodes image files from visitors to uint8 RGB. Needs only PIL and numpy.

The format is detected from the content, never from the name. Every image becomes 8-bit RGB; ``notes`` list the
conversions. Independent of classes, data sets and models.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lib.errors import InvalidFile

MAX_PIXELS = 50_000_000
MAX_BYTES = 64 << 20
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF"}
SUFFIXES |= {".tif": "TIFF", ".tiff": "TIFF"}
HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftypavif")
OTHER_COLOURS = {"CMYK", "LAB", "HSV", "YCbCr"}
ALPHA = {"RGBA", "RGBa", "LA", "La", "PA"}
TO_8_BITS = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)
BIG = 8_000_000  # pixels; larger images are decoded two at a time, so that concurrent threads do not use gigabytes
_big = threading.Semaphore(2)


@dataclass(frozen=True, slots=True)
class Reading:
    """``pixels``: uint8 [h, w, 3]. ``format``: as named by PIL. ``notes``: what was converted."""

    pixels: np.ndarray
    format: str
    notes: tuple[str, ...]


def load(path: Path, about: int = 0) -> np.ndarray:
    """Returns uint8 [h, w, 3] RGB, with the EXIF orientation applied.

    With ``about``, a JPEG may be decoded at a reduced size, with at least that many pixels per side: faster, for
    previews. Raises InvalidFile with the reason, without a path.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFile(f"bigger than {MAX_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError:
        raise InvalidFile("cannot be read from the disk") from None
    return read(data, about).pixels


def read(data: bytes, about: int = 0) -> Reading:
    """Decodes the bytes of an image file. Raises InvalidFile with the reason."""
    if not data:
        raise InvalidFile("empty file (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InvalidFile(f"{width:,} x {height:,} pixels; at most {MAX_PIXELS // 10**6} million are decoded")
            if width * height <= BIG:
                return _decoded(image, about)
            with _big:
                return _decoded(image, about)
    except (InvalidFile, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        if data[4:12] in HEIF:
            raise InvalidFile("HEIC or AVIF, which is not supported: save it as JPEG") from None
        raise InvalidFile("not a readable picture (JPEG, PNG, WebP, BMP, GIF, TIFF)") from None
    except Image.DecompressionBombError:
        raise InvalidFile(f"far over {MAX_PIXELS // 10**6} million pixels: not decoded") from None
    except Exception:  # malicious images make PIL raise nearly anything: SyntaxError, KeyError, struct.error
        raise InvalidFile("damaged or cut off: it cannot be fully decoded") from None


def _decoded(image: Image.Image, about: int) -> Reading:
    kind, notes = "JPEG" if image.format == "MPO" else image.format or "", []  # MPO: JPEG of a phone with a second view
    if kind != "JPEG" and getattr(image, "is_animated", False):
        notes.append("several pages: the first is used" if kind == "TIFF" else "animated: the first frame is used")
    if _is_deep(image, kind):
        notes.append("16 bits per channel: reduced to 8")
    orientation = _orientation(image)  # before load(), in which PIL already rotates TIFFs
    if about:
        image.draft(None, (about, about))  # JPEG only: decodes at 1/2, 1/4 or 1/8 scale, still to the end of the data
    image.load()
    if orientation is None:
        notes.append("its EXIF data is damaged: not rotated")
    elif orientation not in (0, 1):
        notes.append("rotated as its EXIF data says")
        image = ImageOps.exif_transpose(image)
    if image.mode in OTHER_COLOURS:
        notes.append(f"{image.mode}: converted to RGB")
    elif _has_alpha(image):
        notes.append("transparent: placed on white")
    return Reading(np.ascontiguousarray(_rgb(image)), kind, tuple(notes))


def _is_deep(image: Image.Image, kind: str) -> bool:
    """Whether the image has 16 bits per channel.

    PIL already reduces color images to 8 bits, and only its raw mode shows the original depth. BMP's "BGR;16" means 16
    bits per pixel.
    """
    if kind not in ("PNG", "TIFF"):
        return False
    args = image.tile[0][3] if image.tile else ""
    raw = args if isinstance(args, str) else args[0] if isinstance(args, tuple) and args else ""
    return image.mode.startswith("I") or ";16" in str(raw)


def _orientation(image: Image.Image) -> int | None:
    """Returns the EXIF orientation, 1 if there is none, None if the EXIF data (a TIFF of its own) is broken."""
    try:
        orientation = image.getexif().get(274, 1)
    except Exception:  # as when decoding the image
        return None
    return orientation if isinstance(orientation, int) and 0 <= orientation <= 8 else None


def _has_alpha(image: Image.Image) -> bool:
    return not image.mode.startswith("I") and (image.mode in ALPHA or "transparency" in image.info)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InvalidFile("32-bit numbers, not colours: save it with 8 or 16 bits per channel")
        return np.repeat(TO_8_BITS[values.astype(np.uint16)][..., None], 3, axis=2)
    if image.mode == "F":
        raise InvalidFile("floating-point numbers, not colours: save it with 8 or 16 bits per channel")
    try:
        if _has_alpha(image):
            rgba = image.convert("RGBA")
            return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except ValueError:
        raise InvalidFile(f"its colour mode {image.mode} is not supported: save it as RGB") from None
