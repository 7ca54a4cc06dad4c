"""The start picture of image to image, and the mask of inpainting. PIL and numpy; no torch, no files."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from lib.errors import InvalidValue

STRENGTH = 0.75
MAX_SIDE = 2048  # pixels; no model here makes larger pictures
SOFT = 128  # pixels of the picture's width per pixel of a mask's soft edge


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPicture:
    """A start picture with its mask.

    ``pixels``: RGB, ``3 * width * height`` bytes. ``mask``: ``width * height`` bytes of grey, white where the picture is
    repainted, or None for everywhere. ``strength``: the share of the steps that is run, above 0 and up to 1. ``digest``
    and ``mask_digest``: the first 10 hexadecimal digits of the files' SHA-256.
    """

    width: int
    height: int
    pixels: bytes = field(repr=False)
    mask: bytes | None = field(default=None, repr=False)
    strength: float = STRENGTH
    digest: str
    mask_digest: str = ""

    def __post_init__(self) -> None:
        area = self.width * self.height
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            raise InvalidValue("image", f"{self.width} x {self.height}", f"at most {MAX_SIDE} pixels per side")
        if len(self.pixels) != 3 * area or (self.mask is not None and len(self.mask) != area):
            raise ValueError("pixels that do not fit the size")
        object.__setattr__(self, "strength", strength_of(self.strength))

    @classmethod
    def from_images(cls, image: Image.Image, mask: Image.Image | None = None, **more: Any) -> StartPicture:
        """Create it from an image of any mode and size. A mask of another size is rescaled. ``more``: strength, digests."""
        image = _limit_size(image.convert("RGB"))
        digests = {"digest": digest(image.tobytes())}
        if mask is not None:
            mask = mask.convert("L").resize(image.size, Image.Resampling.BILINEAR)
            digests["mask_digest"] = digest(mask.tobytes())
        grey = None if mask is None else mask.tobytes()
        return cls(width=image.width, height=image.height, pixels=image.tobytes(), mask=grey, **(digests | more))

    def size(self, own: int, width: int = 0, height: int = 0, multiple: int = 8) -> tuple[int, int]:
        """Return the size of the result; 0 stands for a side to be chosen. It has the start picture's aspect ratio and
        about the area of ``own`` x ``own``, in eighths of ``own``, so that there are few sizes and batches are shared."""
        shape = self.width / self.height
        if not width and not height:
            width = _eighths(own * math.sqrt(shape), own, multiple)
            height = _eighths(own / math.sqrt(shape), own, multiple)
        return width or _eighths(height * shape, own, multiple), height or _eighths(width / shape, own, multiple)

    def fit(self, width: int, height: int) -> StartPicture:
        """Scale and centre-crop to ``width`` x ``height``."""
        return self if (self.width, self.height) == (width, height) else _fitted(self, width, height)

    def _scaled(self, width: int, height: int) -> StartPicture:
        image = ImageOps.fit(self.image, (width, height), Image.Resampling.LANCZOS)
        mask = self.mask_image
        grey = None if mask is None else ImageOps.fit(mask, (width, height), Image.Resampling.BILINEAR).tobytes()
        return replace(self, width=width, height=height, pixels=image.tobytes(), mask=grey)

    @property
    def image(self) -> Image.Image:
        return Image.frombytes("RGB", (self.width, self.height), self.pixels)

    @property
    def mask_image(self) -> Image.Image | None:
        return None if self.mask is None else Image.frombytes("L", (self.width, self.height), self.mask)

    def composite(self, picture: Image.Image) -> Image.Image:
        """Replace ``picture`` by the start picture's pixels where the mask is black, with a soft edge inside the mask."""
        fitted = self.fit(*picture.size)
        if (mask := fitted.mask_image) is None:
            return picture
        share = soft_mask(mask, max(1, fitted.width // SOFT))[..., None]
        mixed = share * np.asarray(picture, np.float32) + (1 - share) * np.asarray(fitted.image, np.float32)
        return Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))

    def as_dict(self) -> dict[str, Any]:
        """Return the entries in ``Done.info``."""
        facts = {"strength": self.strength, "start_picture": self.digest}
        return facts | ({"mask": self.mask_digest} if self.mask is not None else {})


@lru_cache(maxsize=2)  # the pictures of one request are resized one after another
def _fitted(start: StartPicture, width: int, height: int) -> StartPicture:
    return start._scaled(width, height)


def strength_of(value: Any) -> float:
    """Parse a strength from a number or text. Raises InvalidValue."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= 1:
        raise InvalidValue("strength", value, "a number above 0 and up to 1")
    return number


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:10]


def soft_mask(mask: Image.Image, edge: int) -> np.ndarray:
    """Return float32 [h, w]: 0 outside the mask, rising to 1 from its border inwards over about ``edge`` pixels.

    A blurred mask is 0.5 at its border. Where the mask is thinner than the edge, the blur stays below 1 in the middle, so
    it is divided by its maximum nearby.
    """
    blur = mask.filter(ImageFilter.BoxBlur(edge))
    largest = np.asarray(blur.filter(ImageFilter.MaxFilter(2 * edge + 1)), np.float32)
    inwards = 2 * np.asarray(blur, np.float32) / np.maximum(largest, 1) - 1
    return np.clip(inwards, 0, 1) * (np.asarray(mask, np.float32) / 255)


def _limit_size(image: Image.Image) -> Image.Image:
    """Scale an image down to at most ``MAX_SIDE`` pixels per side."""
    longest = max(image.size)
    if longest <= MAX_SIDE:
        return image
    size = tuple(max(1, round(side * MAX_SIDE / longest)) for side in image.size)
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # type: ignore[arg-type]


def _eighths(side: float, own: int, multiple: int) -> int:
    """Round ``side`` to eighths of ``own`` that are multiples of ``multiple``, between half and double of ``own``."""
    step = max(multiple, own // 8 // multiple * multiple)
    low, high = -(-max(64, own // 2) // step) * step, 2 * own // step * step
    return min(max(round(side / step) * step, low), high)
