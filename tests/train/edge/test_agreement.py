"""The judgement itself, on a network small enough to see through: what is right passes, every planted error is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lib.statistics import wilson
from lib.train.edge.agreement import (
    FAR,
    SAME_FILE,
    TOLERANCE,
    WRONG_PICTURES,
    candidates,
    compare,
    distance,
    judge,
    least_certain,
    same_file,
)

CLASSES, SIDE, COUNT, HIDDEN = 5, 16, 80, 64
RNG = np.random.default_rng(0)
FIRST = RNG.normal(0, 0.1, (SIDE * SIDE * 3, HIDDEN))
WEIGHTS = RNG.normal(0, 0.4, (HIDDEN, CLASSES))


def network(
    pixels: np.ndarray, weights: np.ndarray = WEIGHTS, mean: float = 127, std: float = 128, scale: float = 1
) -> np.ndarray:
    """Two layers with a ReLU6 between them, over pixels in -1..1: float32 [n, classes]."""
    x = (pixels.reshape(len(pixels), -1).astype(np.float64) - mean) / std
    z = np.clip(x @ FIRST * scale + 1, 0, 6) @ weights
    made = np.exp(z - z.max(1, keepdims=True))
    return (made / made.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return RNG.integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)


def probes(pixels: np.ndarray) -> np.ndarray:
    mixed = candidates(pixels)
    return mixed[least_certain(network(mixed))]


def rounded(p: np.ndarray, steps: int = 256) -> np.ndarray:
    return (np.rint(p * steps) / steps).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_rounding_passes(pixels: np.ndarray, precision: str) -> None:
    expected = network(pixels)
    labels = expected.argmax(1)
    noise = {"fp32": 1e-6, "fp16": 3e-4, "int8": 2e-2}[precision]
    ours = network(pixels, WEIGHTS + np.random.default_rng(1).normal(0, noise * 0.35, WEIGHTS.shape))
    ours = rounded(ours) if precision == "int8" else ours
    found = judge(expected, ours, labels, precision)
    assert found.good, found
    assert found.same_label == (expected.argmax(1) == ours.argmax(1)).mean() and found.interval == wilson(
        int(found.accuracy * COUNT + 0.5), COUNT
    )
    asked = probes(pixels)
    others = {what: network(change(asked)) for what, change in WRONG_PICTURES.items()}
    assert (
        compare(network(asked), rounded(network(asked)) if precision == "int8" else network(asked), precision, others) == ""
    )


PLANTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "labels shuffled": lambda x: np.roll(network(x), 1, axis=1),
    "two labels swapped": lambda x: network(x)[:, [1, 0, 2, 3, 4]],
    "normalization left out": lambda x: network(x, mean=0, std=1),
    "normalization twice": lambda x: network((x.astype(np.float64) - 127) / 128),
    "channels swapped": lambda x: network(x[..., ::-1]),
    "a scale wrong": lambda x: network(x, scale=2),
    "no numbers": lambda x: np.full((len(x), CLASSES), np.nan, np.float32),
    "no softmax": lambda x: network(x) * 2,
    "one class for all": lambda x: np.eye(CLASSES, dtype=np.float32)[np.zeros(len(x), int)],
}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_caught(pixels: np.ndarray, planted: str, precision: str) -> None:
    wrong, labels = PLANTED[planted], network(pixels).argmax(1)
    expected, asked = network(pixels), probes(pixels)
    others = {what: network(change(asked)) for what, change in WRONG_PICTURES.items()}
    said = judge(expected, wrong(pixels), labels, precision).why or compare(network(asked), wrong(asked), precision, others)
    assert said


def test_swapped_channels_are_found_where_every_picture_is_grey(pixels: np.ndarray) -> None:
    """On the validation pictures nothing shows: only the dyed ones differ, and the words say what is wrong."""
    grey = np.repeat(pixels[..., :1], 3, axis=3)
    expected, labels = network(grey), network(grey).argmax(1)
    assert judge(expected, network(grey[..., ::-1]), labels, "int8").good
    asked = probes(grey)
    others = {what: network(change(asked)) for what, change in WRONG_PICTURES.items()}
    assert "red and blue were swapped" in compare(network(asked), rounded(network(asked[..., ::-1])), "int8", others)


def test_a_tie_may_fall_either_way() -> None:
    expected = np.array([[0.5004, 0.4996], [0.9, 0.1]], np.float32)
    found = np.array([[0.4996, 0.5004], [0.9, 0.1]], np.float32)
    labels = np.array([0, 0])
    tie = judge(expected, found, labels, "fp32")
    assert tie.good and tie.same_label == 0.5 and tie.accuracy == 0.5
    clear = judge(np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), found, labels, "fp32")
    assert not clear.good and "labels 1 of 2" in clear.why


def test_float_probabilities_that_drift_are_named() -> None:
    expected = np.tile(np.array([[0.9, 0.1]], np.float32), (4, 1))
    off = expected + np.array([[-2.0, 2.0]], np.float32) * TOLERANCE["fp32"]
    assert "differs by 0.004" in judge(expected, off, np.zeros(4, int), "fp32").why
    assert judge(expected, off, np.zeros(4, int), "fp16").good


@pytest.mark.parametrize(("wrong", "good"), [(0, True), (2, True), (3, False), (30, False)])
def test_int8_has_to_be_as_accurate(wrong: int, good: bool) -> None:
    """60 of 60: the interval begins at 94.0 %, so two mistakes are inside (96.7 %) and four are not."""
    expected = np.tile(np.array([[0.9, 0.1]], np.float32), (60, 1))
    found = expected.copy()
    found[: wrong + (wrong > 2)] = [0.1, 0.9]
    judged = judge(expected, found, np.zeros(60, int), "int8")
    assert judged.good is good and ("95 % interval: 94.0%" in judged.why) is not good


def test_accuracy_above_the_interval_is_another_network_too() -> None:
    expected = np.tile(np.array([[0.1, 0.9]], np.float32), (60, 1))
    assert not judge(expected, 1 - expected, np.zeros(60, int), "int8").good


def test_the_metadata_cannot_change_what_the_file_computes(pixels: np.ndarray) -> None:
    one = network(pixels)
    for precision, allowed in SAME_FILE.items():
        assert same_file(one, one + allowed / 2, precision) == ""
        for other in (one[:, ::-1], one + 2 * allowed, one * np.nan):
            assert "labels or the normalization" in same_file(one, other, precision)


def test_distances_and_candidates(pixels: np.ndarray) -> None:
    assert distance(np.eye(2), np.eye(2)[::-1]) == 1 and distance(np.eye(2), np.eye(2)) == 0
    assert FAR["fp32"] < FAR["fp16"] < FAR["int8"] < 1
    grey = np.repeat(pixels[..., :1], 3, axis=3)
    asked = candidates(grey)
    assert asked.dtype == np.uint8 and asked.shape == (160, SIDE, SIDE, 3) and np.array_equal(asked, candidates(grey))
    means = asked.reshape(160, -1, 3).mean(1)
    assert (means.max(1) - means.min(1) > 20).all()
    assert len(candidates(pixels[:1])) == 160 and len(candidates(pixels[:0])) == 0
    assert least_certain(np.array([[0.9, 0.1], [0.5, 0.5], [0.4, 0.6]]), 2).tolist() == [1, 2]


def test_one_picture_does_not_make_a_file_wrong() -> None:
    """Rounding moves the answer to one picture towards the wrong one's; the other three stay where they belong."""
    expected = np.float32([[0.6, 0.4]] * 4)
    wrong = np.float32([[0.1, 0.9]] + [[0.45, 0.55]] * 3)
    others = {"pictures were half as bright": wrong}
    assert compare(expected, np.float32([[0.05, 0.95]] + [[0.6, 0.4]] * 3), "int8", others) == ""
    assert "half as bright" in compare(expected, np.float32([[0.1, 0.9]] + [[0.46, 0.54]] * 3), "int8", others)
