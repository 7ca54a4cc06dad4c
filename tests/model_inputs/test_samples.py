"""Samples from .npz and .npy files: what is taken, what is refused and with which words; halves; on disk."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs import samples
from lib.model_inputs.preprocessing import Preprocessing
from lib.model_inputs.samples import Samples
from lib.model_inputs.signature import Signature, Value
from tests.model_inputs.files import lying, npy, npz, pickled, picture, wav, zipped

FOUR = Signature((Value("x", "float32", ("batch", 4)),))
FIXED = Signature((Value("x", "float32", (8, 4)),))
TWO = Signature((Value("input_ids", "int64", ("batch", "seq")), Value("attention_mask", "int64", ("batch", "seq"), "mask")))
SCALAR = Signature((Value("x", "float32", ("batch", 4)), Value("scale", "float32", ())))
WORDS = Signature((Value("text", "string", ("batch", 1)),))
NARROW = Signature((Value("x", "bfloat16", ("batch", 4)),))
LABELLED = Signature((Value("x", "float32", ("batch", 4)), Value("labels", "int64", ("batch",))))
UNBATCHED = Signature((Value("x", "float32", (4,)),))
ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


def read(tmp_path: Path, data: bytes, signature: Signature = FOUR, name: str = "samples.npz", **more: object) -> Samples:
    (tmp_path / "given").write_bytes(data)
    return samples.read(tmp_path / "given", name, signature, **more)  # type: ignore[arg-type]


GOOD = {
    "npz": (npz(x=ROWS), FOUR, 6, {"x": (1, 4)}),
    "npy": (npy(ROWS), FOUR, 6, {"x": (1, 4)}),
    "an array without a name": (npz(arr_0=ROWS), FOUR, 6, {"x": (1, 4)}),
    "batches of one": (npz(x=ROWS[:, None]), FOUR, 6, {"x": (1, 4)}),
    "batches of three": (npz(x=ROWS.reshape(2, 3, 4)), FOUR, 2, {"x": (3, 4)}),
    "a fixed batch": (npz(x=np.zeros((16, 4), np.float32)), FIXED, 2, {"x": (8, 4)}),
    "no batch": (npz(x=ROWS), UNBATCHED, 6, {"x": (4,)}),
    "one sample without a batch": (npz(x=ROWS[0]), Signature((Value("x", "float32", ("n",)),)), 4, {"x": (1,)}),
    "doubles": (npz(x=ROWS.astype(np.float64)), FOUR, 6, {"x": (1, 4)}),
    "whole numbers": (npz(x=ROWS.astype(np.int64)), FOUR, 6, {"x": (1, 4)}),
    "two inputs": (npz(input_ids=np.ones((3, 5), np.int64), attention_mask=np.ones((3, 5), np.int32)), TWO, 3, None),
    "one for all": (npz(x=ROWS, scale=np.float32(2)), SCALAR, 6, {"x": (1, 4), "scale": ()}),
    "one each": (npz(x=ROWS, scale=np.arange(6.0)), SCALAR, 6, {"x": (1, 4), "scale": ()}),
    "words": (npz(text=np.array([["a"], ["ä b"]])), WORDS, 2, {"text": (1, 1)}),
    "bfloat16": (npz(x=ROWS.astype(ml_dtypes.bfloat16)), NARROW, 6, {"x": (1, 4)}),
    "an input called labels": (npz(x=ROWS, labels=np.arange(6)), LABELLED, 6, {"x": (1, 4), "labels": (1,)}),
    "a large array": (
        npz(x=np.zeros((4096, 5000), np.float32)),
        Signature((Value("x", "float32", ("b", 5000)),)),
        4096,
        {"x": (1, 5000)},
    ),
    "names as TensorFlow writes them": (
        npz(**{"model/serving default_x:0": ROWS}),
        Signature((Value("model/serving default_x:0", "float32", ("b", 4)),)),
        6,
        None,
    ),
    "another byte order": (npz(x=ROWS.astype(">f4")), FOUR, 6, {"x": (1, 4)}),
    "Fortran's order": (npz(x=np.asfortranarray(ROWS)), FOUR, 6, {"x": (1, 4)}),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_taken(tmp_path: Path, case: str) -> None:
    data, signature, count, shapes = GOOD[case]
    found = read(tmp_path, data, signature)
    assert len(found.rows) == count and found.kind == "arrays" and found.labels is None
    for row in found.rows:
        assert list(row) == [v.name for v in signature.inputs]
        assert {n: a.shape for n, a in row.items()} == (
            shapes or {v.name: (1, 4 if count == 6 else 5) for v in signature.inputs}
        )
        assert all(str(row[v.name].dtype).replace("object", "string") == v.dtype for v in signature.inputs)
    if "x" in found.rows[0] and count == 6:
        assert np.array_equal(np.stack([row["x"].reshape(4) for row in found.rows]).astype(np.float32), ROWS)


HUGE = np.full((2, 4), 2**40)
BAD = {
    "empty": (b"", FOUR, "is empty"),
    "another kind": (b"\x7fELF\0\0\0\1", FOUR, "not a readable file of samples. Send an .npz"),
    "a cut off npz": (npz(x=ROWS)[:-30], FOUR, "cut off"),
    "a cut off npy": (npy(ROWS)[:-1], FOUR, "shorter or longer than its header declares"),
    "a pickled npy": (pickled(), FOUR, "pickled Python objects, which are not loaded"),
    "a pickled npz": (zipped({"x.npy": pickled()}), FOUR, "'x' holds pickled"),
    "a header that lies": (lying("(4000000000, 4000000000)"), FOUR, "shorter or longer"),
    "a negative shape": (lying("(-1, 4)"), FOUR, "damaged header"),
    "code in the header": (lying("(__import__('os').getpid(),)"), FOUR, "damaged header"),
    "a long header": (lying("(" + "1," * 20000 + ")"), FOUR, "damaged header"),
    "an unknown version": (b"\x93NUMPY\x09\x00" + npy(ROWS)[8:], FOUR, "damaged header"),
    "records": (npz(x=np.zeros(3, [("a", "f4")])), FOUR, "records"),
    "a zip bomb": (
        zipped({"x.npy": lying("(4000000, 64)", body=bytes(64 << 20))}),
        FOUR,
        "shorter or longer|cannot be read",
    ),
    "an empty npz": (zipped({}), FOUR, "The archive is empty. Send an .npz"),
    "other things in a zip": (zipped({"notes.txt": b"x"}), FOUR, "no pictures and no arrays, but 'notes.txt'"),
    "arrays and other things": (zipped({"x.npy": npy(ROWS), "notes.txt": b"x"}), FOUR, "'notes.txt', which is not an array"),
    "no array inside": (zipped({"x.npy": b"hello"}), FOUR, "is not a NumPy array"),
    "a wrong name": (
        npz(X_input=ROWS),
        FOUR,
        r"lacks 'x' and has 'X_input'.*takes: x float32 \[batch, 4\]. Did you mean 'x' instead of 'X_input'",
    ),
    "a near name": (
        npz(input_id=np.ones((1, 2), np.int64), attention_mask=np.ones((1, 2), np.int64)),
        TWO,
        "Did you mean 'input_ids' instead of 'input_id'",
    ),
    "one too few": (npz(input_ids=np.ones((1, 2), np.int64)), TWO, "lacks 'attention_mask'"),
    "one too many": (npz(x=ROWS, y=ROWS), FOUR, "has 'y', which the model does not take"),
    "one array for two inputs": (npy(ROWS), TWO, "one unnamed array, but the model takes"),
    "unequal counts": (
        npz(input_ids=np.ones((3, 5), np.int64), attention_mask=np.ones((2, 5), np.int64)),
        TWO,
        "different numbers of samples: input_ids 3, attention_mask 2",
    ),
    "unequal lengths": (
        npz(input_ids=np.ones((3, 5), np.int64), attention_mask=np.ones((3, 6), np.int64)),
        TWO,
        "Sample 1: seq is 6 in attention_mask, but 5 in input_ids",
    ),
    "another shape": (
        npz(x=np.zeros((3, 5), np.float32)),
        FOUR,
        r"'x' is float32 \[3, 5\]; the model takes x float32 \[batch, 4\]",
    ),
    "another rank": (npz(x=np.zeros((1, 2, 3, 4), np.float32)), FOUR, "samples along the first axis"),
    "half a batch": (npz(x=np.zeros((12, 4), np.float32)), FIXED, "samples along the first axis"),
    "no sample": (npz(x=np.zeros((0, 4), np.float32)), FOUR, "holds no samples"),
    "fractions for whole numbers": (
        npz(input_ids=np.ones((1, 2)), attention_mask=np.ones((1, 2), np.int64)),
        TWO,
        "'input_ids' is float64",
    ),
    "numbers for words": (npz(text=np.ones((2, 1))), WORDS, "'text' is float64"),
    "words for numbers": (npz(x=np.array([["a"] * 4])), FOUR, "'x' is <U1"),
    "complex numbers": (npz(x=ROWS.astype(complex)), FOUR, "'x' is complex128"),
    "too large a number": (npz(x=HUGE), Signature((Value("x", "int32", ("n", 4)),)), "'x' is int64"),
    "too many samples": (npz(x=np.zeros((5000, 4), np.float32)), FOUR, "5,000 samples; at most 4,096"),
    "too few labels": (npz(x=ROWS, labels=np.arange(5)), FOUR, "labels has 5 entries for 6 samples"),
    "labels that are scores": (npz(x=ROWS, labels=ROWS), FOUR, r"labels is float32 \[6, 4\]"),
    "negative labels": (npz(x=ROWS, labels=np.arange(6) - 1), FOUR, "negative numbers or fractions"),
    "labels that are no numbers": (npz(x=ROWS, labels=np.full(6, np.nan)), FOUR, "negative numbers or fractions"),
    "a model without inputs": (npz(x=ROWS), Signature(), "has no inputs"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    data, signature, said = BAD[case]
    with pytest.raises(InvalidFile, match=said) as caught:
        read(tmp_path, data, signature, name="/secret/place/given.npz"[-9:])
    assert str(tmp_path) not in caught.value.message


def test_sizes_and_samples_must_agree(tmp_path: Path) -> None:
    data = npz(input_ids=np.ones((3, 5), np.int64), attention_mask=np.ones((3, 5), np.int64))
    assert len(read(tmp_path, data, TWO, sizes={"seq": 5}).rows) == 3
    assert len(read(tmp_path, data, TWO, sizes={"batch": 4}).rows) == 3  # samples come one by one
    with pytest.raises(InvalidFile, match="seq is 5 in input_ids, but 8 as given in sizes"):
        read(tmp_path, data, TWO, sizes={"seq": 8})
    with pytest.raises(InvalidValue, match="Did you mean seq"):
        read(tmp_path, data, TWO, sizes={"sec": 8})


def test_numbers_that_are_not_finite_are_taken_and_named(tmp_path: Path) -> None:
    """Models with imputers want NaN."""
    rows = ROWS.copy()
    rows[0, :2] = np.nan, np.inf
    found = read(tmp_path, npz(x=rows))
    assert np.isnan(found.rows[0]["x"][0, 0]) and any("2 values" in m for m in found.messages)


@pytest.mark.parametrize(
    ("labels", "found", "classes"),
    [
        (np.array([0, 1, 2, 0, 1, 2]), [0, 1, 2, 0, 1, 2], []),
        (np.array([[0], [1], [2], [0], [1], [2]], np.float32), [0, 1, 2, 0, 1, 2], []),
        (np.array(["dog", "cat", "dog", "cat", "cat", "cat"]), [1, 0, 1, 0, 0, 0], ["cat", "dog"]),
    ],
)
def test_labels(tmp_path: Path, labels: np.ndarray, found: list[int], classes: list[str]) -> None:
    given = read(tmp_path, npz(x=ROWS, labels=labels))
    assert given.labels == found and given.classes == classes


def test_labels_by_the_models_own_classes(tmp_path: Path) -> None:
    names = {"labels": ["dog", "cat"]}
    given = read(tmp_path, npz(x=ROWS, labels=np.array(["dog", "cat"] * 3)), hints=names)
    assert given.labels == [0, 1] * 3 and given.classes == ["dog", "cat"]
    assert read(tmp_path, npz(x=ROWS, labels=np.array([0, 1] * 3)), hints=names).classes == ["dog", "cat"]
    with pytest.raises(InvalidFile, match=r"labels holds 'kat'.*Did you mean 'cat'"):
        read(tmp_path, npz(x=ROWS, labels=np.array(["dog", "kat"] * 3)), hints=names)
    with pytest.raises(InvalidFile, match="labels goes up to 2, but the model has 2 classes"):
        read(tmp_path, npz(x=ROWS, labels=np.array([0, 2] * 3)), hints=names)


def classified(count: int, classes: int, equal: int = 0) -> Samples:
    rows = [{"x": np.full((1, 4), k if k >= equal else -1.0, np.float32)} for k in range(count)]
    return Samples(rows, [k % classes for k in range(count)])


@pytest.mark.parametrize(("count", "classes"), [(4, 1), (80, 2), (81, 3), (7, 7), (30, 10), (9, 2)])
def test_halves(count: int, classes: int) -> None:
    given = classified(count, classes)
    first, second = samples.halves(given)
    assert not set(first) & set(second) and sorted(first + second) == list(range(count))
    assert abs(len(first) - len(second)) <= 1 + (classes > 1) and first and second
    for label in range(classes):
        sides = [sum(given.labels[n] == label for n in side) for side in (first, second)]
        assert abs(sides[0] - sides[1]) <= 1
    assert samples.halves(given) == (first, second)
    if count > 20:
        assert samples.halves(given, stream=1) != (first, second)


def test_halves_do_not_depend_on_the_order() -> None:
    given = classified(40, 4)
    turned = Samples(given.rows[::-1], given.labels[::-1])
    values = [{float(s.rows[n]["x"][0, 0]) for n in samples.halves(s)[0]} for s in (given, turned)]
    assert values[0] == values[1]


def test_equal_samples_stay_on_one_side() -> None:
    first, second = samples.halves(classified(40, 1, equal=10))
    assert set(range(10)) <= set(first) or set(range(10)) <= set(second)


@pytest.mark.parametrize("given", [classified(3, 1), classified(20, 1, equal=18), Samples([])])
def test_too_few_to_divide(given: Samples) -> None:
    everything = list(range(len(given.rows)))
    assert samples.halves(given) == (everything, everything)


def test_on_disk(tmp_path: Path) -> None:
    rows = [
        {
            "a/b": np.full((1, 2 + k % 2), k, np.float32),
            "narrow": np.full((1, 2), k, ml_dtypes.bfloat16),
            "text": np.array([["ä", "b" * k]], object),
            "flag": np.array(k % 2 == 0),
        }
        for k in range(5)
    ]
    given = Samples(rows, [0, 1, 0, 1, 1], ["no", "yes"], "pictures", Preprocessing(size=(8, 9), channels="BGR"), ["said"])
    samples.save(given, tmp_path / "kept")
    found = samples.load(tmp_path / "kept")
    assert (found.labels, found.classes, found.kind, found.messages) == (
        given.labels,
        given.classes,
        given.kind,
        given.messages,
    )
    assert found.preprocessing == given.preprocessing
    for one, other in zip(given.rows, found.rows, strict=True):
        assert list(one) == list(other)
        assert all(one[n].dtype == other[n].dtype and np.array_equal(one[n], other[n]) for n in one)
    (tmp_path / "kept" / "samples.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidFile, match="are missing or inconsistent"):
        samples.load(tmp_path / "kept")
    with pytest.raises(InvalidFile, match="are missing or inconsistent"):
        samples.load(tmp_path / "nowhere")


def test_random_damage_is_our_error_or_samples(tmp_path: Path) -> None:
    """Damaged files of every kind: nothing but our own errors is raised, and what is read fits the model."""
    rng, ends = np.random.default_rng(0), {True: 0, False: 0}
    pictures = Signature((Value("x", "float32", ("n", 3, 8, 8)),))
    wave = Signature((Value("audio", "float32", (1, 400)),))
    files = [
        (npz(x=ROWS, labels=np.arange(6)), FOUR),
        (npy(ROWS), FOUR),
        (npz(input_ids=np.ones((3, 5), np.int64), attention_mask=np.ones((3, 5), np.int32)), TWO),
        (zipped({f"{f}/{k}.png": picture((k, 0, 0)) for f in "ab" for k in range(2)}), pictures),
        (wav(np.zeros(900)), wave),
    ]
    for _ in range(600):
        data, signature = files[rng.integers(len(files))]
        hurt = bytearray(data[: rng.integers(len(data))] if rng.random() < 0.2 else data)
        for at in rng.integers(0, len(hurt), rng.integers(1, 4)) if hurt else ():
            hurt[at] = rng.integers(256)
        try:
            found = read(tmp_path, bytes(hurt), signature)
        except InvalidFile:
            ends[False] += 1
            continue
        ends[True] += 1
        for row in found.rows:
            for value in signature.inputs:
                assert len(row[value.name].shape) == len(value.shape) and str(row[value.name].dtype) == value.dtype
    assert min(ends.values()) > 50
