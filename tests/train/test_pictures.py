"""Every kind of picture becomes upright 8-bit RGB; the squashing is torch's own bilinear."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.errors import InvalidFile
from lib.train import pictures
from tests.train.hostile import PICTURES, deep_rgb, encode, frames, grey16, picture, pixels, rotated, truncated

RED, BLUE = (255, 0, 0), (0, 0, 255)


def near(pixel: np.ndarray, colour: tuple[int, int, int], tolerance: int = 3) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("turn", "red_at"),  # where the red half lies once it is upright
    [(1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")],
)
def test_exif_is_obeyed(turn: int, red_at: str, kind: str) -> None:
    reading = pictures.read(rotated(turn, kind))
    turned = turn > 4
    assert reading.pixels.shape == ((24, 16, 3) if turned else (16, 24, 3))
    assert ("rotated as its EXIF data says" in reading.notes) == (turn != 1)
    corner = {"left": (8, 2), "right": (8, -3), "top": (2, 8), "bottom": (-3, 8)}[red_at]
    assert near(reading.pixels[corner], RED, 12)
    assert near(reading.pixels[::-1, ::-1][corner], BLUE, 12)


def test_cmyk() -> None:
    cyan = encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95)
    assert near(pictures.read(cyan).pixels[4, 4], (0, 255, 255), 4)
    black = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "TIFF")
    assert near(pictures.read(black).pixels[4, 4], (0, 0, 0), 0)


def test_sixteen_bits_become_eight() -> None:
    assert pictures.read(grey16()).pixels[0].tolist() == [[v] * 3 for v in (0, 1, 255, 128)]
    assert pictures.read(deep_rgb(0x80FF)).pixels[0, 0].tolist() == [0x80] * 3


def test_transparency_is_laid_on_white() -> None:
    half = encode(Image.new("RGBA", (4, 4), (255, 0, 0, 128)))
    assert near(pictures.read(half).pixels[0, 0], (255, 127, 127), 1)
    grey = encode(Image.new("LA", (4, 4), (0, 0)))
    assert near(pictures.read(grey).pixels[0, 0], (255, 255, 255), 0)
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    keyed = encode(image, "PNG", transparency=0)
    assert pictures.read(keyed).pixels[0].tolist() == [[255, 255, 255], [0, 0, 255]]
    colour_key = encode(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert near(pictures.read(colour_key).pixels[0, 0], (255, 255, 255), 0)


def test_grey_and_one_bit() -> None:
    assert near(pictures.read(encode(Image.new("L", (3, 3), 77))).pixels[1, 1], (77, 77, 77), 0)
    assert near(pictures.read(encode(Image.new("1", (3, 3), 1))).pixels[1, 1], (255, 255, 255), 0)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame(kind: str) -> None:
    assert near(pictures.read(frames(kind)).pixels[8, 8], RED, 3)


def test_load_says_what_is_wrong_and_no_path(tmp_path: Path) -> None:
    for name, data in {"cut.jpg": truncated(), "zero.png": b"", "text.gif": b"hello"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InvalidFile) as caught:
            pictures.load(tmp_path / name)
        assert str(tmp_path) not in caught.value.message and name not in caught.value.message
    with pytest.raises(InvalidFile, match="cannot be read"):
        pictures.load(tmp_path / "none.jpg")


def test_a_truncated_jpeg_is_found_at_a_fraction_too() -> None:
    data = encode(Image.fromarray(pixels(1, 900, 700)), "JPEG")
    assert max(pictures.read(data, about=64).pixels.shape) < 200
    with pytest.raises(InvalidFile, match="cut off"):
        pictures.read(data[:-1000], about=64)


def test_too_many_pixels_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    _, data = PICTURES["over_50_mp"].members[-1]  # type: ignore[index]
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InvalidFile, match="50 million"):
        pictures.read(data)


def test_a_limit_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1))
    monkeypatch.setattr("lib.pictures.MAX_BYTES", 100)
    with pytest.raises(InvalidFile, match="bigger than"):
        pictures.load(tmp_path / "a.jpg")


@pytest.mark.parametrize("shape", [(128, 128), (1, 1), (2, 300), (300, 2), (97, 61), (480, 640), (33, 224), (8, 8)])
@pytest.mark.parametrize("size", [1, 7, 64, 128, 224])
def test_resize_is_torchs_bilinear(shape: tuple[int, int], size: int) -> None:
    image = pixels(5, shape[1], shape[0])
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float64)
    wanted = torch.nn.functional.interpolate(tensor, (size, size), mode="bilinear", align_corners=False, antialias=False)
    ours = pictures.resize(image, size)
    assert ours.dtype == np.uint8 and ours.shape == (size, size, 3)
    assert np.abs(ours - wanted[0].permute(1, 2, 0).numpy()).max() <= 0.501  # rounded: within 1/255 with room


def test_resize_of_the_same_size_is_the_same() -> None:
    image = pixels(6, 32, 32)
    assert pictures.resize(image, 32) is image


def test_thumbnail() -> None:
    thumb = Image.open(io.BytesIO(pictures.thumbnail(pixels(7, 400, 100))))
    assert (thumb.format, thumb.size) == ("JPEG", (96, 24))


def test_random_damage_is_our_error_or_a_picture() -> None:
    """1,500 damaged files of every kind (63,000 were tried once): nothing else is raised, nothing crashes."""
    rng, ends = random.Random(0), {"picture": 0, "error": 0}
    files = [data for case in PICTURES.values() for _, data in (case.members or [])[-1:] if 0 < len(data) < 20_000]
    files += [picture(3, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg")]
    files += [picture(3, kind) for kind in pictures.FORMATS]
    for _ in range(1500):
        data = bytearray(rng.choice(files))
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            reading = pictures.read(bytes(data), rng.choice((0, 64)))
        except InvalidFile:
            ends["error"] += 1
        else:
            assert reading.pixels.dtype == np.uint8 and reading.pixels.shape[2:] == (3,)
            ends["picture"] += 1
    assert min(ends.values()) > 100
