"""Task of a child process: opens an uploaded start picture and its mask, and writes raw pixels."""

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
    """Write RGB pixels and, if there is a mask, its grey values to ``out``. Returns the size and whether there is a mask.

    ``mask`` may be ""; ``strokes`` is that of ``StartPictureReader.open_in_job``.
    """
    start = _read("image", Path(image), lambda path: Image.fromarray(pictures.load(path, about=MAX_SIDE)))
    layer = None
    if mask:
        layer = _read("mask", Path(mask), _painted_mask if strokes else lambda path: Image.fromarray(pictures.load(path)))
    prepared = StartPicture.from_images(start, layer)
    Path(out).write_bytes(prepared.pixels + (prepared.mask or b""))
    return {"width": prepared.width, "height": prepared.height, "masked": prepared.mask is not None}


def _read(field: str, path: Path, load: Callable[[Path], Image.Image]) -> Image.Image:
    try:
        return load(path)
    except InvalidFile as error:
        raise InvalidFile(f"The {field} cannot be used: {error.message}.") from None


def _painted_mask(path: Path) -> Image.Image:
    """Return a mask that is white where the layer is painted; a semi-transparent brush counts fully."""
    pictures.load(path)  # checks all limits
    with Image.open(io.BytesIO(path.read_bytes()), formats=pictures.FORMATS) as layer:
        alpha = layer.convert("RGBA").getchannel("A")
    highest = max(1, alpha.getextrema()[1])
    return alpha.point([min(255, value * 255 // highest) for value in range(256)])
