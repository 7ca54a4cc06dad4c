"""Each class by itself: what accuracy on few pictures hides is found, and rounding is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lib.train.data import DataSet
from lib.train.edge.agreement import judge
from lib.train.edge.checking import Checker
from lib.train.edge.classwise import MIN_PICTURES, lost_class, most_certain, named, undersampled_classes, unjudged
from lib.train.runs import Run

COUNTS = (6, 6, 6, 6, 1, 1)  # validation pictures by class: two are rare
CLASSES = ("a", "b", "c", "d", "rare", "scarce")
LABELS = np.repeat(np.arange(6), COUNTS)
RNG = np.random.default_rng(0)


def softmax(z: np.ndarray) -> np.ndarray:
    made = np.exp(z - z.max(1, keepdims=True))
    return (made / made.sum(1, keepdims=True)).astype(np.float32)


def answers(labels: np.ndarray, margin: float = 6.0) -> np.ndarray:
    """Logits of a network that is right everywhere."""
    return RNG.normal(0, 0.3, (len(labels), 6)) + margin * np.eye(6)[labels]


LOGITS = answers(LABELS)
MORE = answers(np.repeat([4, 5], MIN_PICTURES))  # training pictures of the rare ones
LAST = np.arange(6) == 5

WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "two rare classes swapped": lambda z: softmax(z)[:, [0, 1, 2, 3, 5, 4]],
    "a class never answered": lambda z: softmax(z - 30 * LAST),
    "a class's row zeroed": lambda z: softmax(np.where(LAST, 0, z)),
}


def rounded(z: np.ndarray) -> np.ndarray:
    """As int8 does: logits a little off, probabilities in steps of 1/256."""
    return (np.rint(softmax(z + np.random.default_rng(1).normal(0, 0.15 * z.std(), z.shape)) * 256) / 256).astype(np.float32)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_few_pictures_hide(wrong: str) -> None:
    every, change = np.concatenate([LOGITS, MORE]), WRONG[wrong]
    for precision in ("fp32", "fp16", "int8"):
        said = lost_class(softmax(every), change(every), CLASSES, precision)
        assert "'rare'" in said or "'scarce'" in said
    assert judge(softmax(LOGITS), change(LOGITS), LABELS, "int8").good  # two of 26 are inside the interval


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("margin", [6.0, 2.0, 0.5])
def test_rounding_passes(precision: str, margin: float) -> None:
    z = answers(np.tile(np.arange(6), 8), margin)
    right = rounded(z) if precision == "int8" else softmax(z + {"fp32": 0, "fp16": 1e-3}[precision])
    assert lost_class(softmax(z), right, CLASSES, precision) == ""


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_network_that_is_sure_of_nothing(precision: str) -> None:
    """Nothing differs by much, so only how the answers vary tells a file from one that always says the same."""
    expected = softmax(answers(np.tile(np.arange(6), 8), 0.5))
    assert (expected.max(1) < 0.6).all()
    for wrong in (np.full_like(expected, 1 / 6), np.tile(expected.mean(0), (48, 1)), np.roll(expected, 1, 1)):
        assert "do not follow" in lost_class(expected, wrong, CLASSES, precision)
    assert unjudged(expected, CLASSES, precision) == []


def test_a_constant_network_of_two_classes_is_not_proven_by_a_constant_file() -> None:
    """What float16's tolerance of a probability would let pass."""
    expected = np.tile(np.float32([[0.46, 0.54], [0.54, 0.46]]), (2, 1))
    uniform = np.full_like(expected, 0.5)
    assert judge(expected, uniform, np.array([1, 0, 1, 0]), "fp16").good
    assert "do not follow" in lost_class(expected, uniform, ("a", "b"), "fp16")
    still = np.tile(np.float32([[0.5001, 0.4999], [0.4999, 0.5001]]), (2, 1))
    assert unjudged(still, ("a", "b"), "fp16") == unjudged(still, ("a", "b"), "int8") == ["a", "b"]
    assert lost_class(still, uniform, ("a", "b"), "fp16") == ""


def test_far_off_where_the_network_is_sure() -> None:
    """The first label stays, so that labels alone say nothing; one of over a hundred may be so."""
    expected = np.tile(np.float32([[0.999, 0.001], [0.001, 0.999]]), (100, 1))
    found = expected.copy()
    found[0] = [0.2, 0.8]
    assert lost_class(expected, found, ("a", "b"), "int8") == ""
    assert "up to 0.8 on 1 of 20" in lost_class(expected[:20], found[:20], ("a", "b"), "int8")
    assert "NaN or infinite" in lost_class(expected, found * np.nan, ("a", "b"), "int8")


def test_which_classes_want_pictures() -> None:
    assert undersampled_classes(softmax(LOGITS)).tolist() == [4, 5]
    assert most_certain(np.float32([[0.1, 0.9], [0.6, 0.4], [0.9, 0.1]]), 0, 2).tolist() == [1, 2]
    assert named(["a" * 99, *"bcdefg"]).startswith(f"'{'a' * 59}…', 'b'") and named(list("abcdefg")).endswith(
        "'e' and 2 more"
    )
    assert unjudged(softmax(LOGITS)[:0], CLASSES, "int8") == list(CLASSES)
    assert lost_class(softmax(LOGITS)[:0], softmax(LOGITS)[:0], CLASSES, "int8") == ""


def test_training_pictures_stand_in(make: Callable[..., Run], pictures: DataSet) -> None:
    """Two or so validation pictures a class: the rest are those that the network has seen."""
    checker = Checker(make(validation=0.05), pictures, precision="fp32")
    assert len(checker.pictures) < 3 * MIN_PICTURES and len(checker.more) == len(checker.expected_more) == 3 * MIN_PICTURES
    assert np.bincount(checker.expected_more.argmax(1), minlength=3).tolist() == [MIN_PICTURES] * 3
