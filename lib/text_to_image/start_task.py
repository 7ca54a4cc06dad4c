"""Runs in a child process: opens an uploaded start picture and its mask, and writes raw pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from lib import pictures
from lib.errors import InvalidFile
from lib.text_to_image.start_picture import MAX_SIDE, StartPicture


def prepare(progress: Callable[..., None], image: str, mask: str, strokes: bool, out: str) -> dict[str, Any]:
    """Writes RGB, then the mask's grey values if there is a mask, to ``out``.

    ``mask`` may be ""; ``strokes`` is that of ``StartPictureReader.open_in_job``.
    """
    start = _read("image", Path(image), lambda path: Image.fromarray(pictures.load(path, about=MAX_SIDE)))
    area = None
    if mask:
        area = _read("mask", Path(mask), _painted_mask if strokes else lambda path: Image.fromarray(pictures.load(path)))
    found = StartPicture.from_images(start, area)
    Path(out).write_bytes(found.pixels + (found.mask or b""))
    return {"width": found.width, "height": found.height, "masked": found.mask is not None}


def _read(field: str, path: Path, load: Callable[[Path], Image.Image]) -> Image.Image:
    try:
        return load(path)
    except InvalidFile as error:
        raise InvalidFile(f"The {field} cannot be used: {error.message}.") from None


def _painted_mask(path: Path) -> Image.Image:
    """White where the layer is painted; a half transparent brush counts fully."""
    pictures.load(path)  # checks all limits
    with Image.open(io.BytesIO(path.read_bytes()), formats=pictures.FORMATS) as layer:
        alpha = layer.convert("RGBA").getchannel("A")
    most = max(1, alpha.getextrema()[1])
    return alpha.point([min(255, value * 255 // most) for value in range(256)])
