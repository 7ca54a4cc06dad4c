"""Runs in a child process: opens an uploaded start picture and its mask, and leaves plain pixels."""

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
    """Writes RGB, then the mask's grey if there is one, to ``out``. ``mask`` may be ""; ``strokes``: see ``Intake.read``."""
    start = _read("image", Path(image), lambda path: Image.fromarray(pictures.load(path, about=MAX_SIDE)))
    area = None
    if mask:
        area = _read("mask", Path(mask), _painted if strokes else lambda path: Image.fromarray(pictures.load(path)))
    found = StartPicture.of(start, area)
    Path(out).write_bytes(found.pixels + (found.mask or b""))
    return {"width": found.width, "height": found.height, "masked": found.mask is not None}


def _read(field: str, path: Path, load: Callable[[Path], Image.Image]) -> Image.Image:
    try:
        return load(path)
    except InvalidFile as error:
        raise InvalidFile(f"The {field} cannot be used: {error.message}.") from None


def _painted(path: Path) -> Image.Image:
    """White where a layer was painted on; a brush that lets the picture show through counts as much as any other."""
    pictures.load(path)  # all its limits
    with Image.open(io.BytesIO(path.read_bytes()), formats=pictures.FORMATS) as layer:
        alpha = layer.convert("RGBA").getchannel("A")
    most = max(1, alpha.getextrema()[1])
    return alpha.point([min(255, value * 255 // most) for value in range(256)])
