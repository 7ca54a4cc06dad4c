"""Pictures as samples: preprocessing guessed, shown and changed; zips whose folders are labels; bad pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib import pictures
from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs import dimensions, picture_files, samples
from lib.model_inputs.preprocessing import MEAN, STD, Preprocessing, guess, parse
from lib.model_inputs.signature import Signature, Value
from tests.model_inputs.files import animated, bomb, deep, npz, picture, zipped

NCHW = Signature((Value("x", "float32", ("batch", 3, 8, 12), "image"),))
NHWC = Signature((Value("x", "uint8", (1, 8, 12, 3)),))
FREE = Signature((Value("x", "float32", ("batch", 3, "height", "width")),))
BOXES = Signature(
    (Value("image", "float32", (1, 3, 8, 8)), Value("size", "int64", (1, 2)), Value("state", "float32", (1, 5)))
)
TABLE = Signature((Value("x", "float32", ("batch", 30)),))
RED, BLUE, SMALL = (255, 0, 0), (0, 0, 255), (12, 8)


def read(tmp_path: Path, data: bytes, signature: Signature = NCHW, **more: object) -> samples.Samples:
    (tmp_path / "given").write_bytes(data)
    return samples.read(tmp_path / "given", "given.zip", signature, **more)  # type: ignore[arg-type]


LAYOUTS = {
    ("b", 3, 224, 224): "NCHW",
    (1, 224, 224, 3): "NHWC",
    (1, 1, 28, 28): "NCHW",
    (1, 28, 28, 1): "NHWC",
    ("b", 3, "h", "w"): "NCHW",
    ("b", "h", "w", 3): "NHWC",
    (3, 224, 224): "NCHW",
    (224, 224, 3): "NHWC",
    (1, 4, 64, 64): None,  # latents
    (1, 16, 1, 3): None,
    ("b", "s", 3): None,
    ("b", 512): None,
    (1, 3, 16, 224, 224): None,  # a video
}


@pytest.mark.parametrize("shape", LAYOUTS)
def test_what_can_be_a_picture(shape: tuple[int | str, ...]) -> None:
    assert dimensions.picture_layout(Value("x", "float32", shape)) == LAYOUTS[shape]


@pytest.mark.parametrize(
    ("value", "hints", "found"),
    [
        (NCHW.inputs[0], {}, Preprocessing((8, 12), "NCHW", "RGB", "imagenet")),
        (NHWC.inputs[0], {}, Preprocessing((8, 12), "NHWC", "RGB", "0..255")),
        (NCHW.inputs[0], {"size": [99, 99], "layout": "NHWC"}, Preprocessing((8, 12), "NCHW", "RGB", "imagenet")),
        (
            FREE.inputs[0],
            {"size": [99, 98], "crop": "center"},
            Preprocessing((99, 98), normalization="imagenet", crop="center"),
        ),
        (FREE.inputs[0], {}, Preprocessing((224, 224), "NCHW", "RGB", "imagenet")),
        (Value("x", "float32", (1, 28, 28, 1)), {}, Preprocessing((28, 28), "NHWC", "L", "0..1")),
        (Value("x", "float32", (1, 28, 28, 3)), {}, Preprocessing((28, 28), "NHWC", "RGB", "-1..1")),
        (Value("pixels", "float32", (1, 3, 32, 32)), {}, Preprocessing((32, 32), "NCHW", "RGB", "0..255")),
        (Value("x", "float32", (1, 3, 8, 8)), {"input": "BGR, 0 to 255"}, Preprocessing((8, 8), "NCHW", "BGR", "0..255")),
        (Value("x", "float32", (1, 3, 8, 8)), {"input": "RGB, 0 to 1"}, Preprocessing((8, 8), "NCHW", "RGB", "0..1")),
        (
            Value("x", "float32", (1, 3, 8, 8)),
            {"normalization": "0..1", "labels": ["a"]},
            Preprocessing((8, 8), normalization="0..1"),
        ),
    ],
)
def test_guess(value: Value, hints: dict[str, str], found: Preprocessing) -> None:
    assert guess(value, hints) == found
    assert Preprocessing.from_dict(found.as_dict()) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sise": 3}, "preprocessing was 'sise'; allowed: size, layout, channels, normalization, crop"),
        ({"layout": "CHW"}, "layout was 'CHW'; allowed: NCHW, NHWC"),
        ({"channels": "RGBA"}, "allowed: RGB, BGR, L"),
        ({"normalization": "z"}, r"allowed: 0\.\.1, -1\.\.1, 0\.\.255, imagenet"),
        ({"crop": "top"}, "allowed: squash, center"),
        ({"size": "large"}, "size was 'large'; allowed: height x width in pixels"),
        ({"size": [1, 2, 3]}, "height x width"),
        ({"size": 0}, "1 to 4096"),
        ({"size": 1e9}, "height x width"),
    ],
)
def test_a_bad_preprocessing(given: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        Preprocessing.from_dict(given)


@pytest.mark.parametrize("size", [[24, 32], "24x32", "24 x 32", "24×32", (24, 32)])
def test_sizes_as_people_write_them(size: object) -> None:
    assert Preprocessing.from_dict({"size": size, "crop": ""}).size == (24, 32)


@pytest.mark.parametrize(
    ("change", "red"),
    [
        ({}, [1, 0, 0]),
        ({"normalization": "-1..1"}, [1, -1, -1]),
        ({"normalization": "0..255"}, [255, 0, 0]),
        ({"normalization": "imagenet"}, (np.array([1, 0, 0]) - MEAN) / STD),
        ({"channels": "BGR"}, [0, 0, 1]),
        ({"channels": "L"}, [76 / 255]),
    ],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_apply(change: dict[str, str], red: list[float], layout: str) -> None:
    chosen = Preprocessing.from_dict({"size": [2, 3], "layout": layout} | change)
    found = chosen.apply(np.full((7, 5, 3), RED, np.uint8))
    assert found.dtype == np.float32 and found.shape == ((1, len(red), 2, 3) if layout == "NCHW" else (1, 2, 3, len(red)))
    pixel = found[0, :, 1, 1] if layout == "NCHW" else found[0, 1, 1]
    assert pixel == pytest.approx(np.array(red), abs=1e-6)


@pytest.mark.parametrize(("kind", "value"), [("uint8", 255), ("int8", 127), ("int32", 255), ("float16", 255)])
def test_dtypes(kind: str, value: int) -> None:
    found = Preprocessing((2, 2), normalization="0..255").apply(np.full((2, 2, 3), 255, np.uint8), kind)
    assert found.dtype == kind and (found == value).all()


def test_crops() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255  # the middle third
    assert (Preprocessing((10, 10), crop="center").apply(wide) == 1).all()
    squashed = Preprocessing((10, 10)).apply(wide)
    assert squashed[0, 0, 0, 0] == 0 and squashed[0, 0, 0, 5] == 1


def test_one_picture(tmp_path: Path) -> None:
    found = read(tmp_path, picture(RED), NHWC)
    assert found.kind == "pictures" and found.labels is None and len(found.rows) == 1
    assert found.rows[0]["x"].dtype == np.uint8 and found.rows[0]["x"].shape == (1, 8, 12, 3)
    assert (found.rows[0]["x"] == RED).all()
    assert found.messages == ["Pictures become 8 x 12 pixels, RGB, 0..255, NHWC, squashed."]


def test_what_is_guessed_can_be_changed(tmp_path: Path) -> None:
    found = read(tmp_path, picture(RED), FREE, preprocessing={"size": "16x24", "normalization": "0..1", "channels": "BGR"})
    assert found.rows[0]["x"].shape == (1, 3, 16, 24) and found.rows[0]["x"][0, :, 0, 0].tolist() == [0, 0, 1]
    assert found.preprocessing == Preprocessing((16, 24), "NCHW", "BGR", "0..1")
    limited = Signature(FREE.inputs, (), {"height": (64, 192), "width": (64, 192)})
    assert read(tmp_path, picture(RED), limited).rows[0]["x"].shape == (1, 3, 192, 192)
    assert read(tmp_path, picture(RED), FREE, sizes={"height": 32}).rows[0]["x"].shape == (1, 3, 32, 224)


@pytest.mark.parametrize(
    ("signature", "change", "said"),
    [
        (NCHW, {"size": 16}, r"gives \[3, 16, 16\] per picture, but 'x' takes \[batch, 3, 8, 12\]"),
        (NCHW, {"channels": "L"}, r"gives \[1, 8, 12\]"),
        (NCHW, {"layout": "NHWC"}, "Change size, layout or channels"),
        (TABLE, {}, r"no input of this model takes pictures: x float32 \[batch, 30\]. Send an .npz"),
    ],
)
def test_a_preprocessing_that_does_not_fit(
    tmp_path: Path, signature: Signature, change: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidFile, match=said):
        read(tmp_path, picture(RED), signature, preprocessing=change)


def test_folders_are_labels(tmp_path: Path) -> None:
    members = {f"pets/dog/{k}.png": picture(RED) for k in range(3)} | {"pets/cat/a.JPG": picture(BLUE, kind="JPEG")}
    members |= {"__MACOSX/pets/._a.png": b"x", "pets/.DS_Store": b"x"}
    found = read(tmp_path, zipped(members))
    assert found.labels == [0, 1, 1, 1] and found.classes == ["cat", "dog"]
    assert any("in alphabetical order" in m for m in found.messages)


@pytest.mark.parametrize(
    ("folders", "names", "extra", "labels"),
    [
        (["10", "9"], [], "", [10, 9]),
        (["b", "a"], ["b", "c", "a"], "", [0, 2]),
        (["10", "9"], ["10", "9"], "", [0, 1]),
        (["b", "a"], [], "b\na\n", [0, 1]),
        (["b", "a"], ["a", "b"], "b\na\n", [0, 1]),
        (["kat", "dog"], ["cat", "dog"], "", None),
        (["only"], [], "", None),
        (["only"], ["other"], "", None),
        (["only"], ["other", "only"], "", [1]),
        (["", "dog"], [], "", None),
    ],
)
def test_which_class_a_folder_is(
    tmp_path: Path, folders: list[str], names: list[str], extra: str, labels: list[int] | None
) -> None:
    members = {f"{f}/{k}.png".lstrip("/"): picture((k, 0, 0), SMALL) for k, f in enumerate(folders)}
    members |= {"classes.txt": extra.encode()} if extra else {}
    found = read(tmp_path, zipped(members), NHWC, hints={"labels": names})
    if labels is None:
        assert found.labels is None
    else:
        assert {int(r["x"][0, 0, 0, 0]): n for r, n in zip(found.rows, found.labels or [], strict=True)} == dict(
            enumerate(labels)
        )
    assert ("Did you mean 'cat'" in " ".join(found.messages)) == ("kat" in folders)


def test_a_mixed_zip(tmp_path: Path) -> None:
    """Every good picture is used; every other file is named, with the reason."""
    members = {
        "a/grey16.png": deep(),
        "a/cmyk.jpg": picture((0, 255, 255, 0), kind="JPEG", mode="CMYK"),
        "a/animated.gif": animated(),
        "a/clear.png": picture((0, 0, 0, 0), mode="RGBA"),
        "a/no suffix": picture(BLUE),
        "b/wrong suffix.jpg": picture(BLUE),
        "b/cut.png": picture(RED, (200, 200))[:-40],
        "b/bomb.png": bomb(),
        "b/empty.png": b"",
        "b/notes.txt": b"hello",
        "b/inner.zip": npz(x=np.zeros(3)),
        "b/heic.jpg": b"\0\0\0\x18ftypheic" + b"\0" * 64,
    }
    found = read(tmp_path, zipped(members), NHWC)
    assert len(found.rows) == 6 and found.labels == [0, 0, 0, 0, 0, 1]
    said = " ".join(found.messages)
    for words in (
        "16 bits per channel: reduced to 8",
        "CMYK: converted to RGB",
        "the first frame",
        "placed on white",
        "and 1 more",
    ):
        assert words in said
    by_name = dict(zip(sorted(n for n in members if n.startswith("a/")), found.rows, strict=False))
    assert (by_name["a/clear.png"]["x"] == 255).all() and by_name["a/cmyk.jpg"]["x"][0, 0, 0].tolist() == pytest.approx(
        RED, abs=3
    )
    grey = by_name["a/grey16.png"]["x"][0, 4, :, 0]
    assert grey[0] == 0 and grey[-1] == 255
    for name in (
        "b/bomb.png (far over 50 million pixels",
        "b/cut.png (damaged or cut off",
        "b/empty.png (empty",
        "b/inner.zip (no picture",
    ):
        assert name in said


BAD = {
    "an empty zip": (zipped({}), "The archive is empty"),
    "no picture in it": (zipped({"a/x.txt": b"hello"}), "holds no pictures and no arrays, but 'a/x.txt'"),
    "only broken ones": (zipped({"a/x.png": b"\x89PNG\r\n\x1a\n123"}), r"Left out: a/x.png \(not a readable picture"),
    "a broken picture": (picture(RED, (99, 99))[:-30], "The picture cannot be used: damaged or cut off"),
    "a bomb": (bomb(), "The picture cannot be used: far over 50 million pixels"),
    "a cut off zip": (zipped({"a/x.png": picture(RED)})[:-9], "cut off"),
    "classes twice": (zipped({"a/x.png": picture(RED), "classes.txt": b"a\na"}), "has a duplicate class"),
    "classes in Latin-1": (zipped({"a/x.png": picture(RED), "classes.txt": b"\xe4"}), "not UTF-8"),
    "a member twice": (zipped({"a/x.png": picture(RED), "b/../a/y.png": b""}), "only plain names"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    data, said = BAD[case]
    with pytest.raises(InvalidFile, match=said):
        read(tmp_path, data)


def test_other_inputs_are_as_at_a_fresh_start(tmp_path: Path) -> None:
    found = read(tmp_path, picture(RED), BOXES)
    row = found.rows[0]
    assert list(row) == ["image", "size", "state"] and (row["state"] == 0).all() and row["size"].dtype == np.int64
    assert "Besides the picture, size, state: initial values." in found.messages


def test_a_fixed_batch_is_filled_with_the_picture(tmp_path: Path) -> None:
    found = read(tmp_path, picture(RED), Signature((Value("x", "float32", (4, 3, 8, 8)),)))
    assert found.rows[0]["x"].shape == (4, 3, 8, 8) and (found.rows[0]["x"] == found.rows[0]["x"][:1]).all()


def test_a_picture_without_a_batch(tmp_path: Path) -> None:
    assert read(tmp_path, picture(RED), Signature((Value("x", "float32", (3, 32, 32)),))).rows[0]["x"].shape == (3, 32, 32)


def test_too_many_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly drawn ones: every folder has its share."""
    monkeypatch.setattr(picture_files, "MAX_VALUES", 3 * 8 * 12 * 10)
    members = {f"{f}/{k:02}.png": picture((k, 0, 0)) for f in "ab" for k in range(20)}
    found = read(tmp_path, zipped(members))
    assert len(found.rows) == 10 and found.labels == [0] * 5 + [1] * 5
    assert "At most 10 pictures of this size are used, sampled evenly by name." in found.messages


def test_resizing_is_torchvisions() -> None:
    import torch
    from torchvision.transforms import functional

    image = np.random.default_rng(0).integers(0, 256, (61, 97, 3), np.uint8)
    wanted = functional.resize(Image.fromarray(image), [16, 24])
    assert np.array_equal(
        Preprocessing((16, 24), "NHWC", normalization="0..255").apply(image)[0], np.asarray(wanted, np.float32)
    )
    assert torch.is_tensor(functional.to_tensor(wanted))


def test_environments_without_pillow_and_tokenizers(tmp_path: Path) -> None:
    """Converters have such: arrays are read there all the same, and the rest says what to send."""
    (tmp_path / "x.npz").write_bytes(npz(x=np.zeros((2, 3, 8, 8), np.float32)))
    (tmp_path / "x.png").write_bytes(picture())
    (tmp_path / "x.txt").write_text("hello")
    (tmp_path / "tokenizer.json").write_text("{}")
    code = """
import sys
sys.modules |= {"PIL": None, "tokenizers": None, "transformers": None}
from pathlib import Path
from lib.errors import JobFailed
from lib.model_inputs import made_up, samples, sizes
from lib.model_inputs.signature import Signature, Value
images = Signature((Value("x", "float32", ("b", 3, 8, 8)),))
words = Signature((Value("ids", "int64", ("b", "s"), "tokens"),))
home = Path(sys.argv[1])
assert len(samples.read(home / "x.npz", "x", images).rows) == 2
for name, signature in (("x.png", images), ("x.txt", words)):
    try:
        samples.read(home / name, name, signature, tokenizer=home / "tokenizer.json")
    except JobFailed as error:
        assert "are not supported for this kind of model. Send an .npz" in error.message
    else:
        raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])


def test_limits_are_those_of_the_reader() -> None:
    assert picture_files.MAX_BYTES == pictures.MAX_BYTES and set(pictures.SUFFIXES) == picture_files.SUFFIXES


@pytest.mark.parametrize("text", ["size=224, crop=center", " size = 224 ;crop=center,", '{"size": "224", "crop": "center"}'])
def test_a_preprocessing_in_words(text: str) -> None:
    assert parse(text) == {"size": "224", "crop": "center"} and parse(None) == parse(" ") == {}


@pytest.mark.parametrize("text", ["nearly", "size=", "=3", '{"size": ', "[1]", "{" * 100_000])
def test_a_preprocessing_in_bad_words(text: str) -> None:
    with pytest.raises(InvalidValue, match="pairs such as size=224"):
        parse(text)
