"""Checks whether an exported file agrees with the run's own network. NumPy only; runs no model.

A float file must give the same probabilities up to rounding, and therefore the same label except for ties. An int8 file
rounds much more: its accuracy must lie within the interval of the network's own accuracy, and its outputs must be closer
to the network's than to those of the network on corrupted inputs (``WRONG_PICTURES``). With few images an interval is
wide, so each class is also checked separately (``classwise.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lib.statistics import wilson

# measured: docs/edge.md
TOLERANCE = {"fp32": 2e-3, "fp16": 1e-1, "int8": 1.0}  # maximum difference of a probability on validation images
TIE = {"fp32": 4e-3, "fp16": 1e-1, "int8": 1.0}  # margin of the top class up to which the top two count as tied
FAR = {"fp32": 1e-3, "fp16": 3e-2, "int8": 0.2}  # maximum mean distance on the least certain images, 0 to 1
# maximum difference of a probability between LiteRT and MediaPipe: same file and pixels, different kernel versions
SAME_FILE = {"fp32": 2e-2, "fp16": 2e-2, "int8": 1e-1}
NOTICED = 0.05  # a corruption is informative only if it changes the outputs by more than this mean distance
CHANGED = 0.1  # distance above which a corruption counts as changing the output for one image
STRANGER = "On mixed and recolored pictures, its predictions differ from those of the trained network."
SUM = 0.03  # maximum deviation of the sum of probabilities from 1: int8 rounds each to 1/256


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of ``judge``: ``good``, and ``why`` not.

    ``same_label`` is the share of images with the same label, ``difference`` the largest difference of a probability.
    ``accuracy`` and ``interval`` are the file's, ``reference`` and ``reference_interval`` the network's.
    """

    good: bool
    why: str
    same_label: float
    difference: float
    accuracy: float
    interval: tuple[float, float]
    reference: float
    reference_interval: tuple[float, float]


def judge(expected: np.ndarray, found: np.ndarray, labels: np.ndarray, precision: str) -> Agreement:
    """Compare a file with the run's own network on n labelled images.

    ``expected`` are the network's and ``found`` the file's probabilities, float [n, classes]; ``labels`` int [n] is the
    ground truth. ``precision`` is fp32, fp16 or int8.
    """
    count, tolerance = len(labels), TOLERANCE[precision]
    finite = bool(np.isfinite(found).all())
    clean = np.nan_to_num(found)
    difference = float(np.abs(clean - expected).max(initial=0.0)) if finite else 1.0
    expected_labels, found_labels = expected.argmax(1), clean.argmax(1)
    expected_correct, correct = int((expected_labels == labels).sum()), int((found_labels == labels).sum())
    interval = wilson(expected_correct, count)
    flips = int(((expected_labels != found_labels) & (margin(expected) > TIE[precision])).sum())
    accuracy = correct / max(count, 1)
    why = ""
    if not finite:
        why = "Some of its probabilities are NaN or infinite."
    elif np.abs(clean.sum(1) - 1).max(initial=0.0) > SUM:
        why = "Its probabilities do not add up to 1."
    elif precision == "int8":
        if not interval[0] <= accuracy <= interval[1]:
            why = (
                f"It is correct on {correct} of {count} validation pictures, the trained network on {expected_correct} "
                f"(95 % interval: {interval[0]:.1%} to {interval[1]:.1%})."
            )
    elif flips:
        why = f"It labels {flips} of {count} validation pictures differently from the trained network, not counting ties."
    elif difference > tolerance:
        why = f"A probability differs by {difference:.2g} from the trained network; rounding explains at most {tolerance:g}."
    return Agreement(
        not why,
        why,
        float((expected_labels == found_labels).mean()) if count else 1.0,
        difference,
        accuracy,
        wilson(correct, count),
        expected_correct / max(count, 1),
        interval,
    )


def compare(expected: np.ndarray, found: np.ndarray, precision: str, others: Mapping[str, np.ndarray]) -> str:
    """Returns why ``found`` is not the network's output on these images, or "" if it is.

    Intended for the ``least_certain`` of ``candidates``. ``others`` maps each corruption to the network's outputs on the
    corrupted images.
    """
    if not np.isfinite(found).all():
        return "Some of its probabilities are NaN or infinite."
    error = distance(found, expected)
    for corruption, answers in others.items() if precision == "int8" else ():
        error_to_other = distance(found, answers)
        if distance(answers, expected) > NOTICED and error_to_other < error and _most_nearer(found, expected, answers):
            identified = error_to_other < error / 2
            return f"It predicts as the trained network would if {corruption}." if identified else STRANGER
    limit = FAR[precision]
    return f"{STRANGER} The mean distance is {error:.2g}; rounding explains at most {limit:g}." if error > limit else ""


def _most_nearer(found: np.ndarray, expected: np.ndarray, answers: np.ndarray) -> bool:
    """Returns whether most outputs that the corruption changes are closer to ``answers``; a mean may rest on one image."""
    changed = _distances(answers, expected) > CHANGED
    nearer = _distances(found, answers) < _distances(found, expected)
    return 2 * int((changed & nearer).sum()) > int(changed.sum())


def same_file(litert: np.ndarray, mediapipe: np.ndarray, precision: str) -> str:
    """Returns why MediaPipe's probabilities differ from the file's, or "" if they agree."""
    difference = np.abs(litert - mediapipe).max(initial=0.0)
    if np.isfinite(difference) and difference <= SAME_FILE[precision]:
        return ""
    return "MediaPipe's probabilities differ from those of the file: the labels or the normalization in it are wrong."


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the mean total variation distance: half the sum of absolute differences, 0 if equal, 1 if disjoint."""
    return float(_distances(one, other).mean()) if len(one) else 0.0


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other).sum(1) / 2


def candidates(pixels: np.ndarray, count: int = 160) -> np.ndarray:
    """Generate images that expose errors natural images may hide: uint8 [count, size, size, 3].

    Each is a mixture of two images, with a random gain per channel so that the channels differ (they are equal in a grey
    scan), plus noise. Deterministic for the same images.
    """
    if not len(pixels):
        return pixels
    rng = np.random.default_rng(len(pixels))
    first, second = (pixels[rng.integers(0, len(pixels), count)].astype(np.float32) for _ in range(2))
    share = rng.uniform(0.3, 0.7, (count, 1, 1, 1)).astype(np.float32)
    gain = rng.permuted(np.tile(np.float32([0.3, 0.65, 1.0]), (count, 1)), axis=1)[:, None, None, :]
    noise = rng.normal(0, 12, first.shape).astype(np.float32)
    return np.clip(np.rint((share * first + (1 - share) * second) * gain + noise), 0, 255).astype(np.uint8)


def least_certain(probabilities: np.ndarray, count: int = 32) -> np.ndarray:
    """Returns int [count] or fewer: indices of the images with the smallest margin, where small errors show most."""
    return np.sort(np.argsort(margin(probabilities), kind="stable")[:count])


def margin(probabilities: np.ndarray) -> np.ndarray:
    """Returns float [n]: the difference between the two highest probabilities."""
    top = np.sort(probabilities, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0]


# errors a file may make on its input: a description, and the equivalent corruption of the images
WRONG_PICTURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "red and blue were swapped": lambda x: x[..., ::-1],
    "pictures were half as bright": lambda x: x // 2,
    "pictures were twice as bright": lambda x: np.minimum(x.astype(np.uint16) * 2, 255).astype(np.uint8),
    "pictures were inverted": lambda x: 255 - x,
    "pictures were black": lambda x: np.zeros_like(x),
    "pictures were mirrored": lambda x: x[:, :, ::-1],
    "rows and columns were swapped": lambda x: x.swapaxes(1, 2),
}
