"""Made-up inputs: sizes, ranges, repeatability; and the files they travel in."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np

from lib.convert.core import arrays
from lib.convert.proof.cases import cases, perturbed
from lib.model_inputs.signature import Signature, Value

TEXT = Signature(
    inputs=(
        Value("ids", "int64", ("batch", "sequence"), "tokens", 50),
        Value("mask", "int64", ("batch", "sequence"), "mask"),
        Value("x", "float32", ("batch", 3)),
    )
)


def test_sizes_are_shared_by_symbol_and_change() -> None:
    found = cases(TEXT)
    kinds = [c.kind for c in found]
    assert kinds.count("ordinary") == 3 == kinds.count("resized")
    assert {"zeros", "large", "perturbed"} <= set(kinds)
    for case in found:
        assert case.arrays["ids"].shape == case.arrays["mask"].shape == (case.sizes["batch"], case.sizes["sequence"])
    assert {c.sizes["batch"] for c in found} == {1, 3}
    assert len({c.sizes["sequence"] for c in found}) == 2


def test_values_suit_their_role() -> None:
    for case in cases(TEXT):
        assert case.arrays["ids"].min() >= 0
        assert case.arrays["ids"].max() < 50
        assert set(np.unique(case.arrays["mask"])) <= {0, 1}
    large = next(c for c in cases(TEXT) if c.kind == "large")
    assert (large.arrays["ids"] == 49).all()
    assert any((c.arrays["mask"] == 0).any() for c in cases(TEXT) if c.kind == "ordinary")


def test_the_same_seed_gives_the_same_arrays_and_another_one_others() -> None:
    one, two = cases(TEXT), cases(TEXT)
    assert all(np.array_equal(a.arrays[n], b.arrays[n]) for a, b in zip(one, two, strict=True) for n in a.arrays)
    assert not np.array_equal(one[0].arrays["x"], one[1].arrays["x"])


def test_fixed_and_listed_sizes() -> None:
    assert {c.sizes["batch"] for c in cases(TEXT, fixed={"batch": 2})} == {2}
    image = Signature(inputs=(Value("i", "float32", ("n", 3, "h", "h"), "image"),), sizes={"h": (32, 48)})
    assert {c.sizes["h"] for c in cases(image)} == {32, 48}
    assert [c.kind for c in cases(Signature())] == ["ordinary"]


def test_a_perturbation_is_one_step_of_the_dtype() -> None:
    value = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    moved = perturbed({"x": value, "n": np.arange(3)}, 0)
    assert moved["x"].dtype == np.float32
    assert (moved["x"] != value).all()
    assert np.abs(moved["x"] / value - 1).max() < 2.5e-7
    assert (moved["n"] == np.arange(3)).all()


def test_files_keep_any_name_and_dtype(tmp_path: Path) -> None:
    given = {
        "file": np.arange(3),
        "a/b:0": np.float32([[1, np.nan]]),
        "half": np.array([1.5, -2], ml_dtypes.bfloat16).reshape(2, 1),
        "tiny": np.array([1, -2], ml_dtypes.int4),
        "bytes": np.array([250], np.uint8),
        "text": np.array(["a", "bb"], object),
        "0": np.zeros((0, 4)),
        "scalar": np.array(True),
    }
    arrays.save(tmp_path / "x.npz", given)
    found = arrays.load(tmp_path / "x.npz")
    assert list(found) == list(given)
    for name, value in given.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        assert (found[name].tobytes() == value.tobytes()) or value.dtype == object
    assert found["text"].tolist() == ["a", "bb"]
