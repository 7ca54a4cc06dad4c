from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lib.errors import InvalidFile, InvalidValue, LimitExceeded
from lib.settings import Settings
from lib.text_to_image import start_picture_reader
from lib.text_to_image.start_picture import StartPicture, soft_mask, strength_of
from lib.text_to_image.start_picture_reader import StartPictureReader


def scene(width: int = 128, height: int = 128, seed: int = 0) -> Image.Image:
    """Colours of every kind, smooth and sharp."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    picture = small.resize((width, height), Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).rectangle((width // 4, height // 4, width // 2, height // 2), fill=(220, 20, 20))
    return picture


def box(width: int = 128, height: int = 128, left: int = 64) -> Image.Image:
    """A mask: white from ``left`` to the right border."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rectangle((left, 0, width, height), fill=255)
    return mask


@pytest.mark.parametrize("value", [0, -0.1, 1.01, "much", None, True, "nan", float("inf"), [], 10**400])
def test_a_strength_that_is_none(value: object) -> None:
    with pytest.raises(InvalidValue, match=r"strength was .*; allowed: a number above 0 and up to 1"):
        strength_of(value)


def test_a_strength_may_come_as_text() -> None:
    assert strength_of("0.3") == 0.3 and strength_of(1) == 1.0


@pytest.mark.parametrize(
    ("shape", "own", "asked", "size"),
    [
        ((100, 100), 512, (0, 0), (512, 512)),
        ((1600, 900), 512, (0, 0), (704, 384)),
        ((900, 1600), 512, (0, 0), (384, 704)),
        ((1600, 900), 128, (0, 0), (176, 96)),
        ((2000, 10), 512, (0, 0), (1024, 256)),
        ((1600, 900), 512, (640, 0), (640, 384)),
        ((1600, 900), 512, (0, 640), (1024, 640)),
        ((1600, 900), 512, (256, 256), (256, 256)),
    ],
)
def test_the_picture_to_draw_has_the_start_picture_s_shape(
    shape: tuple[int, int], own: int, asked: tuple[int, int], size: tuple[int, int]
) -> None:
    assert StartPicture.from_images(Image.new("RGB", shape)).size(own, *asked) == size


def test_fitting_cuts_off_evenly_and_the_mask_with_it() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    mask = Image.new("L", (30, 10))
    mask.paste(255, (10, 0, 20, 10))
    start = StartPicture.from_images(wide, mask, strength=0.5).fit(64, 64)
    assert start.image.size == start.mask_image.size == (64, 64)
    assert start.image.getpixel((32, 32)) == (0, 0, 255) and start.mask_image.getpixel((32, 32)) == 255
    assert start.strength == 0.5 and start.fit(64, 64) is start


def test_huge_pictures_are_kept_smaller() -> None:
    start = StartPicture.from_images(Image.new("RGB", (5000, 1000)), Image.new("L", (10, 10), 255))
    assert (start.width, start.height) == (2048, 410) and len(start.mask or b"") == 2048 * 410


def test_what_is_outside_of_the_mask_stays_to_the_bit() -> None:
    old, new = scene(seed=1), scene(seed=2)
    kept = np.asarray(StartPicture.from_images(old, box()).composite(new))
    assert np.array_equal(kept[:, :64], np.asarray(old)[:, :64])
    assert np.array_equal(kept[:, 68:], np.asarray(new)[:, 68:])
    assert StartPicture.from_images(old).composite(new) is new


@pytest.mark.parametrize("edge", [1, 4])
def test_a_mask_s_edge_is_soft_and_a_thin_mask_is_there(edge: int) -> None:
    share = soft_mask(box(left=64), edge)
    assert share[:, :64].max() == 0 and share[:, 64 + 2 * edge :].min() == 1
    assert (np.diff(share, axis=1) >= 0).all() and 0 < share[0, 64 + edge // 2] < 1
    line = Image.new("L", (64, 64))
    line.paste(255, (30, 0, 31, 64))
    assert soft_mask(line, edge)[:, 30].min() == 1


@pytest.fixture(scope="module")
def opener(settings: Settings) -> Iterator[StartPictureReader]:
    found = StartPictureReader(settings)
    yield found
    found.close()


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_files_become_pixels(opener: StartPictureReader, tmp_path: Path) -> None:
    picture = saved(tmp_path / "a.png", scene(120, 80))
    start = opener.read(picture, saved(tmp_path / "m.png", box(60, 40, 30)), strength="0.4")
    assert (start.width, start.height, start.strength) == (120, 80, 0.4)
    assert start.image.tobytes() == scene(120, 80).tobytes()
    assert start.mask_image.getpixel((10, 40)) == 0 and start.mask_image.getpixel((110, 40)) == 255
    assert start.digest == hashlib.sha256(picture.read_bytes()).hexdigest()[:10]
    assert len(start.mask_digest) == 10 and start.mask_digest != start.digest
    assert opener.read(saved(tmp_path / "a.jpg", scene(120, 80))).mask is None


def test_a_painted_layer_is_a_mask_too(opener: StartPictureReader, tmp_path: Path) -> None:
    layer = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    layer.paste((10, 10, 10, 190), (0, 0, 32, 64))  # the brush of the page lets the picture show through
    start = opener.read(saved(tmp_path / "a.png", scene(64, 64)), saved(tmp_path / "m.png", layer), strokes=True)
    assert start.mask_image.getpixel((5, 5)) == 255 and start.mask_image.getpixel((60, 5)) == 0


def bomb(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"zebra", "not a readable picture"),
        (bomb(8000), "64 million pixels|8,000 x 8,000 pixels"),
        (bomb(20000), "not decoded|pixels"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "."),
    ],
)
def test_what_is_no_picture_is_refused(opener: StartPictureReader, tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "a.png").write_bytes(data)
    good = saved(tmp_path / "b.png", scene(64, 64))
    with pytest.raises(InvalidFile, match=rf"^The image cannot be used: .*({words})") as caught:
        opener.read(tmp_path / "a.png")
    assert str(tmp_path) not in caught.value.message
    with pytest.raises(InvalidFile, match=r"^The mask cannot be used: "):
        opener.read(good, tmp_path / "a.png")
    with pytest.raises(InvalidFile, match=r"^The mask cannot be used: "):
        opener.read(good, tmp_path / "a.png", strokes=True)


def test_a_picture_that_takes_too_much_memory_ends_in_its_own_process(
    opener: StartPictureReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        start_picture_reader, "LIMITS", start_picture_reader.Limits(memory_mb=90, cpu_seconds=30, wall_seconds=60)
    )
    big = saved(tmp_path / "a.jpg", Image.effect_noise((6000, 6000), 50).convert("RGB"))
    with pytest.raises(LimitExceeded, match="memory"):
        opener.read(big)
    monkeypatch.undo()
    assert opener.read(big).width == 2048
