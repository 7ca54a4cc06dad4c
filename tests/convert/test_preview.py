"""A look at samples shows what the model will see: the normalization is undone, whatever it was."""

from __future__ import annotations

import base64
import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.convert.worker.preview import MAX_PICTURES, SIDE, pixels, preview
from lib.errors import InvalidFile
from lib.model_inputs.preprocessing import CHANNELS, LAYOUTS, NORMALIZATIONS, Preprocessing
from lib.model_inputs.signature import Signature, Value


def value(layout: str = "NCHW", channels: int = 3, kind: str = "float32") -> Value:
    shape = ("batch", channels, 16, 12) if layout == "NCHW" else ("batch", 16, 12, channels)
    return Value("image", kind, shape, role="image")


@pytest.mark.parametrize(("normalization", "layout", "channels"), itertools.product(NORMALIZATIONS, LAYOUTS, CHANNELS))
def test_pixels_come_back(normalization: str, layout: str, channels: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    how = Preprocessing((16, 12), layout, channels, normalization)
    grey = channels == "L"
    found = pixels(how.apply(picture), value(layout, 1 if grey else 3), how)
    expected = np.asarray(Image.fromarray(picture).convert("L")) if grey else picture
    assert found.dtype == np.uint8 and found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e30])
def test_odd_numbers_are_shown_somehow(odd: float) -> None:
    array = np.zeros((1, 3, 16, 12), np.float32)
    array[0, 0, 0, 0] = odd
    for how in (None, Preprocessing((16, 12), normalization="imagenet")):
        with np.errstate(all="ignore"):
            assert pixels(array, value(), how).shape == (16, 12, 3)


def test_pictures_by_class(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for k in range(30):
            data = io.BytesIO()
            Image.new("RGB", (50, 40), (8 * k, 0, 0)).save(data, "PNG")
            archive.writestr(f"{'dog' if k < 28 else 'cat'}/{k:02}.png", data.getvalue())
    found = preview(tmp_path / "photos.zip", "photos.zip", Signature((value(),)), {"normalization": "0..1"}, {})
    assert (found["kind"], found["count"], found["labels"], found["classes"]) == ("pictures", 30, 2, {"dog": 28, "cat": 2})
    assert found["arrays"] == [{"name": "image", "dtype": "float32", "shape": [1, 3, 16, 12]}]
    assert len(found["pictures"]) == MAX_PICTURES and {p["label"] for p in found["pictures"]} == {"dog", "cat"}
    image = Image.open(io.BytesIO(base64.b64decode(found["pictures"][0]["png"])))
    assert max(image.size) == SIDE and image.size == (72, 96)


def test_arrays_without_pictures(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((5, 7), np.float32))
    signature = Signature((Value("x", "float32", ("batch", 7)),))
    found = preview(tmp_path / "x.npz", "x.npz", signature, None, {})
    assert found["pictures"] == [] and found["count"] == 5 and found["labels"] == 0 and found["preprocessing"] is None
    with pytest.raises(InvalidFile, match="no input of this model takes pictures"):
        Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
        preview(tmp_path / "x.png", "x.png", signature, None, {})
