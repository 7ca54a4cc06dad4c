"""How a picture becomes a model's input: size, layout, channel order, normalization. Guessed, shown, changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import InvalidValue
from lib.model_inputs import dimensions
from lib.model_inputs.signature import Value, dtype

if TYPE_CHECKING:
    from PIL import Image  # made-up inputs are also made where it is not: in environments of converters

LAYOUTS, CHANNELS, CROPS = ("NCHW", "NHWC"), ("RGB", "BGR", "L"), ("squash", "center")
NORMALIZATIONS = ("0..1", "-1..1", "0..255", "imagenet")
# of torchvision's and timm's weights, for pixels of 0..1
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
SIDE, MAX_SIDE = 224, 4096
PAIRS = "pairs such as size=224, normalization=imagenet, layout=NCHW, channels=RGB, crop=center"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """``size``: (height, width) in pixels. ``crop``: ``squash`` scales both sides to it; ``center`` scales the picture
    to cover it and cuts off what stands over."""

    size: tuple[int, int] = (SIDE, SIDE)
    layout: str = "NCHW"
    channels: str = "RGB"
    normalization: str = "0..1"
    crop: str = "squash"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"size": list(self.size)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], base: Preprocessing | None = None) -> Preprocessing:
        """``base`` with what is given changed; ``size`` as 224, "224", "224x320" or [224, 320]. Raises InvalidValue."""
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                raise InvalidValue("preprocessing", name, ", ".join(names))
        changes = {name: value for name, value in given.items() if value not in (None, "")}
        for name, some in (("layout", LAYOUTS), ("channels", CHANNELS), ("normalization", NORMALIZATIONS), ("crop", CROPS)):
            if name in changes and changes[name] not in some:
                raise InvalidValue(name, changes[name], ", ".join(some))
        if "size" in changes:
            changes["size"] = _size(changes["size"])
        return replace(base or cls(), **changes)

    def apply(self, picture: np.ndarray, kind: str = "float32") -> np.ndarray:
        """uint8 [h, w, 3] RGB -> [1, c, h, w] or [1, h, w, c] of the dtype ``kind``, as the model takes it."""
        from PIL import Image

        resized = _fitted(Image.fromarray(picture), self.size, self.crop)
        pixels = np.asarray(resized.convert("L") if self.channels == "L" else resized)
        return self.normalized(pixels.reshape(*self.size, -1), kind)

    def normalized(self, pixels: np.ndarray, kind: str = "float32") -> np.ndarray:
        """[h, w, c] of 0..255, RGB or grey, -> [1, ...] in the model's layout, order, range and dtype."""
        values = np.asarray(pixels, np.float32)
        to = dtype(kind)
        if to.kind in "iu":  # whole pixels; signed bytes are centred
            values = np.rint(values) - (128 if to == np.int8 else 0)
        elif self.normalization == "-1..1":
            values = values / 127.5 - 1
        elif self.normalization == "imagenet":
            one = values.shape[-1] == 1
            values = (values / 255 - (MEAN.mean() if one else MEAN)) / (STD.mean() if one else STD)
        elif self.normalization == "0..1":
            values = values / 255
        if self.channels == "BGR":
            values = values[..., ::-1]
        if self.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None]).astype(to)

    def shown(self) -> str:
        """For a report: ``224 x 224 pixels, RGB, imagenet, NCHW, squashed``."""
        crop = "squashed" if self.crop == "squash" else "cut from the middle"
        return f"{self.size[0]} x {self.size[1]} pixels, {self.channels}, {self.normalization}, {self.layout}, {crop}"


def parse(text: str | None) -> dict[str, Any]:
    """``size=224, normalization=imagenet``, or the same as JSON, for ``from_dict``. Raises InvalidValue."""
    words = (text or "").strip()
    if words.startswith("{"):
        try:
            return dict(json.loads(words))
        except (ValueError, RecursionError):
            raise InvalidValue("preprocessing", words, PAIRS) from None
    out = {}
    for part in filter(None, (p.strip() for p in words.replace(";", ",").split(","))):
        name, sign, value = (p.strip() for p in part.partition("="))
        if not sign or not name or not value:
            raise InvalidValue("preprocessing", part, PAIRS)
        out[name] = value
    return out


def guess(value: Value, hints: Mapping[str, Any] | None = None, *, size: tuple[int, int] | None = None) -> Preprocessing:
    """What the model probably wants, from its signature. Raises InvalidValue where it takes no pictures.

    ``hints``: ``normalization``, ``channels``, ``crop`` or ``size`` (of a free shape), where the source states them, and
    ``input``, words of its metadata such as "RGB, 0 to 255". ``size`` is (height, width) where the shape leaves it open.
    """
    layout = dimensions.picture_layout(value)
    if layout is None:
        raise InvalidValue("samples", "pictures", f"arrays, since {value.name!r} {list(value.shape)} does not take pictures")
    hints = dict(hints or {})
    words = str(hints.pop("input", "")).lower()
    shape = value.shape
    space = shape[-2:] if layout == "NCHW" else shape[-3:-1]
    count = shape[-3] if layout == "NCHW" else shape[-1]
    height, width = (d if isinstance(d, int) else n for d, n in zip(space, size or (SIDE, SIDE), strict=True))
    base = Preprocessing(
        size=(height, width),
        layout=layout,
        channels="L" if count == 1 else "BGR" if "bgr" in words else "RGB",
        normalization=_normalization(value, layout, words),
    )
    known = {"normalization", "crop"} | ({"channels"} if count == 3 else set())
    known |= {"size"} if not size and all(isinstance(d, str) for d in space) else set()  # a fixed shape knows better
    return Preprocessing.from_dict({k: v for k, v in hints.items() if k in known}, base)


def _normalization(value: Value, layout: str, words: str) -> str:
    """Whole numbers are pixels. Floats: as the metadata says, else as the frameworks' own weights mostly want it."""
    told = dimensions.words(value.name)
    if dtype(value.dtype).kind in "iu" or "255" in words or told & {"pixels", "uint"}:
        return "0..255"
    if "imagenet" in words:
        return "imagenet"
    if "-1" in words:
        return "-1..1"
    count = value.shape[-3] if layout == "NCHW" else value.shape[-1]
    if count == 1 or "to 1" in words:
        return "0..1"
    return "imagenet" if layout == "NCHW" else "-1..1"


def _size(given: Any) -> tuple[int, int]:
    parts = given.lower().replace("×", "x").split("x") if isinstance(given, str) else given
    parts = list(parts) if isinstance(parts, (list, tuple)) else [parts]
    try:
        sides = [int(str(p)) for p in parts] * (2 if len(parts) == 1 else 1)
    except ValueError:
        sides = []
    if len(sides) != 2 or not all(1 <= s <= MAX_SIDE for s in sides):
        raise InvalidValue("size", given, f"height x width in pixels, as in 224x224; 1 to {MAX_SIDE} each")
    return sides[0], sides[1]


def _fitted(image: Image.Image, size: tuple[int, int], crop: str) -> Image.Image:
    """Bilinear and antialiased, as torchvision's and Keras' loaders do it."""
    from PIL import Image

    height, width = size
    if image.size == (width, height):
        return image
    if crop == "center":
        scale = max(height / image.height, width / image.width)
        across, down = width / scale, height / scale
        left, top = (image.width - across) / 2, (image.height - down) / 2
        box = (left, top, left + across, top + down)
    else:
        box = (0, 0, image.width, image.height)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
