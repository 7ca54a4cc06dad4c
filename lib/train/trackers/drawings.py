"""Draws training results as images for a tracker or a page: uint8 [h, w, 3]. Uses NumPy and PIL only.

PIL's built-in font supports Latin letters only; other scripts appear as boxes. Tables and pages that need such names show
them as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, PAPER, FAINT, EMPTY = (24, 24, 27), (255, 255, 255), (113, 113, 122), (248, 248, 249)
RIGHT, WRONG = np.array([37, 99, 235]), np.array([220, 38, 38])  # blue on the diagonal, red beside it
LABEL = 20  # maximum length of a class name
COUNTED, NAMED = 40, 90  # maximum number of classes with counts in the cells, with class names


def confusion_matrix(counts: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Draw ``counts`` int [k, k] (rows: true class, columns: predicted class) as a heat map.

    The intensity is the share of the row. Up to 40 classes show counts in the cells, up to 90 show class names. Raises
    ValueError if ``counts`` is not square or does not match the number of labels.
    """
    k = len(labels)
    if counts.shape != (k, k) or not k:
        raise ValueError(f"{k} labels need counts [{k}, {k}], got {list(counts.shape)}.")
    cell = int(np.clip(960 // k, 4, 56))
    size = int(np.clip(cell * 0.4, 9, 14))
    names = [shorten(label, LABEL) if k <= NAMED else "" for label in labels]
    margin = 12 + max(text_width(name, size) for name in names) + size + 8
    side = margin + k * cell + 12
    picture = Image.new("RGB", (side, side), PAPER)
    draw = ImageDraw.Draw(picture)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for row in range(k):
        for column in range(k):
            colour = shade(RIGHT if row == column else WRONG, shares[row, column])
            x, y = margin + column * cell, margin + row * cell
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), colour)  # leaves a gap between cells
            if k <= COUNTED and counts[row, column]:
                ink = PAPER if shares[row, column] > 0.5 else INK
                draw.text((x + cell / 2 - 1, y + cell / 2 - 1), str(counts[row, column]), ink, font(size), "mm")
    for index, name in enumerate(names):
        middle = margin + (index + 0.5) * cell
        draw.text((margin - 6, middle), name, INK, font(size), "rm")
        _upright(picture, name, int(middle), margin - 6, size, INK)
    draw.text((margin, 6), "predicted", FAINT, font(size), "la")
    _upright(picture, "true", 6 + size // 2, margin + text_width("true", size) + 4, size, FAINT)
    return np.asarray(picture)


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], *, columns: int = 6, side: int = 128
) -> np.ndarray:
    """Arrange images (each uint8 [h, w, 3]) in rows of ``columns``, each fitted into ``side`` with its caption below.

    A caption may have several lines. Without images, returns a line of text that says so. Raises ValueError if the numbers
    of images and captions differ.
    """
    if len(pictures) != len(captions):
        raise ValueError(f"{len(pictures)} pictures need as many captions, got {len(captions)}.")
    if not pictures:
        return _line("no pictures")
    size, gap = 12, 8
    caption_height = max(caption.count("\n") + 1 for caption in captions) * (size + 4)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (gap + columns * (side + gap), gap + rows * (side + caption_height + gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (pixels, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = gap + index % columns * (side + gap), gap + index // columns * (side + caption_height + gap)
        sheet.paste(_fitted(pixels, side), (x, y))
        for line, text in enumerate(caption.split("\n")):
            draw.text((x, y + side + 2 + line * (size + 4)), _cut(text, size, side), INK, font(size))
    return np.asarray(sheet)


def mistakes(
    pictures: Sequence[np.ndarray], true: Sequence[str], predicted: Sequence[str], probability: Sequence[float]
) -> np.ndarray:
    """Returns a contact sheet of misclassified images, in the given order."""
    captions = [f"{p} {s:.0%}\nis {t}" for t, p, s in zip(true, predicted, probability, strict=True)]
    return contact_sheet(pictures, captions)


def weights_grid(weights: np.ndarray, *, scale: int = 12) -> np.ndarray:
    """Draw first-layer filters, float [n, 3 or 1, h, w], as a grid of images, each enlarged by ``scale``.

    All share one colour scale: grey is 0, the largest magnitude is black or full colour. Raises ValueError for any other
    shape.
    """
    if weights.ndim != 4 or weights.shape[1] not in (1, 3):
        raise ValueError(f"Filters are [n, 3 or 1, h, w], got {list(weights.shape)}.")
    count, _, height, width = weights.shape
    largest = float(np.abs(weights).max(initial=0)) or 1.0
    pixels = np.rint(127.5 + 127.5 * weights / largest).clip(0, 255).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (count, 3, height, width)).transpose(0, 2, 3, 1)
    pixels = pixels.repeat(scale, 1).repeat(scale, 2)
    columns = int(np.ceil(np.sqrt(count)))
    gap = 2
    h, w = height * scale + gap, width * scale + gap
    grid = np.full((-(-count // columns) * h + gap, columns * w + gap, 3), 255, np.uint8)
    for index, filter_ in enumerate(pixels):
        y, x = gap + index // columns * h, gap + index % columns * w
        grid[y : y + h - gap, x : x + w - gap] = filter_
    return grid


def shade(colour: np.ndarray, share: float) -> tuple[int, int, int]:
    """Returns almost white at 0 and ``colour`` at 1; the smallest non-zero share is still visible."""
    if share <= 0:
        return EMPTY
    depth = 0.1 + 0.9 * min(float(share), 1.0)
    red, green, blue = np.rint(255 + depth * (colour - 255)).astype(int)
    return int(red), int(green), int(blue)


def shorten(text: str, letters: int) -> str:
    """Returns the text as one line of at most ``letters`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= letters else text[: letters - 1] + "…"


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> int:
    return int(np.ceil(font(size).getlength(text)))


def _cut(text: str, size: int, width: int) -> str:
    while len(text) > 1 and text_width(text, size) > width:
        text = text[:-2] + "…"
    return text


def _upright(picture: Image.Image, text: str, middle: int, bottom: int, size: int, ink: tuple[int, int, int]) -> None:
    """Draw text that reads upwards and ends at ``bottom``, centred on the column ``middle``."""
    width, height = text_width(text, size) + 2, size + 6
    line = Image.new("L", (width, height))
    ImageDraw.Draw(line).text((0, height / 2), text, 255, font(size), "lm")
    letters = line.rotate(90, expand=True)  # pasted as a mask: columns may be narrower than a line of text
    picture.paste(ink, (middle - height // 2, bottom - width), letters)


def _fitted(pixels: np.ndarray, side: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    share = side / max(picture.size)
    width, height = (max(1, round(edge * share)) for edge in picture.size)
    resample = Image.Resampling.NEAREST if share >= 2 else Image.Resampling.LANCZOS  # small ones stay sharp
    square = Image.new("RGB", (side, side), (228, 228, 231))
    square.paste(picture.resize((width, height), resample), ((side - width) // 2, (side - height) // 2))
    return square


def _line(text: str) -> np.ndarray:
    picture = Image.new("RGB", (text_width(text, 14) + 24, 40), PAPER)
    ImageDraw.Draw(picture).text((12, 20), text, FAINT, font(14), "lm")
    return np.asarray(picture)
