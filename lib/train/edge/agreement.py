"""Whether an exported file decides as the run's own network does. numpy only; runs nothing.

A float file has to give the same probabilities but for rounding, so the same label wherever it is no tie. An int8 file
rounds much more: it has to be as accurate (within the interval of the network's own accuracy), and its answers have to lie
nearer to the network's than to those of a network that sees wrong pictures (``WRONG_PICTURES``). On few pictures an
interval holds almost anything, so every class is looked at by itself too (``classwise.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lib.statistics import wilson

# measured: docs/edge.md
TOLERANCE = {"fp32": 2e-3, "fp16": 1e-1, "int8": 1.0}  # of a probability, on validation pictures
TIE = {"fp32": 4e-3, "fp16": 1e-1, "int8": 1.0}  # by how much a first class may lead and still be a tie
FAR = {"fp32": 1e-3, "fp16": 3e-2, "int8": 0.2}  # mean distance of the answers to unsure pictures, 0 to 1
# of a probability, between LiteRT and MediaPipe, which run the same file on the same pixels by kernels of two versions
SAME_FILE = {"fp32": 2e-2, "fp16": 2e-2, "int8": 1e-1}
NOTICED = 0.05  # mean distance that wrong pictures must make before their answers say anything
CHANGED = 0.1  # distance of the answer to one picture, from which on a wrong picture counts as answered differently
STRANGER = "On mixed and dyed pictures its answers are not those of the run's own network."
SUM = 0.03  # of the probabilities, from 1: int8 rounds each to 1/256


@dataclass(frozen=True, slots=True)
class Agreement:
    """``good``, and ``why`` in words. ``same_label``: share; ``difference``: the largest of a probability;
    ``accuracy`` and its ``interval`` are the file's, ``reference`` and ``reference_interval`` the network's."""

    good: bool
    why: str
    same_label: float
    difference: float
    accuracy: float
    interval: tuple[float, float]
    reference: float
    reference_interval: tuple[float, float]


def judge(expected: np.ndarray, found: np.ndarray, labels: np.ndarray, precision: str) -> Agreement:
    """``expected`` float [n, classes] of the run's network and ``found`` of the file, on the same n pictures; ``labels``
    int [n] are the true ones. ``precision`` is fp32, fp16 or int8."""
    count, tolerance = len(labels), TOLERANCE[precision]
    finite = bool(np.isfinite(found).all())
    clean = np.nan_to_num(found)
    difference = float(np.abs(clean - expected).max(initial=0.0)) if finite else 1.0
    ours, theirs = expected.argmax(1), clean.argmax(1)
    right, correct = int((ours == labels).sum()), int((theirs == labels).sum())
    interval = wilson(right, count)
    apart = int(((ours != theirs) & (margin(expected) > TIE[precision])).sum())
    accuracy = correct / max(count, 1)
    why = ""
    if not finite:
        why = "Some of its probabilities are no numbers."
    elif np.abs(clean.sum(1) - 1).max(initial=0.0) > SUM:
        why = "Its probabilities do not add up to 1."
    elif precision == "int8":
        if not interval[0] <= accuracy <= interval[1]:
            why = (
                f"It is right on {correct} of {count} validation pictures and the run's own network on {right}, "
                f"whose 95 % interval is {interval[0]:.1%} to {interval[1]:.1%}."
            )
    elif apart:
        why = f"It labels {apart} of {count} validation pictures otherwise than the run's own network, ties not counted."
    elif difference > tolerance:
        why = f"A probability differs by {difference:.2g} from the run's own network; {tolerance:g} is rounding."
    return Agreement(
        not why,
        why,
        float((ours == theirs).mean()) if count else 1.0,
        difference,
        accuracy,
        wilson(correct, count),
        right / max(count, 1),
        interval,
    )


def compare(expected: np.ndarray, found: np.ndarray, precision: str, others: Mapping[str, np.ndarray]) -> str:
    """Why ``found`` is not the network's answer to these pictures; "" if it is. For the ``least_certain`` of ``candidates``.

    ``others`` are the network's answers to the same pictures, each wrong in a way of its own.
    """
    if not np.isfinite(found).all():
        return "Some of its probabilities are no numbers."
    off = distance(found, expected)
    for what, answers in others.items() if precision == "int8" else ():
        there = distance(found, answers)
        if distance(answers, expected) > NOTICED and there < off and _most_nearer(found, expected, answers):
            named = there < off / 2
            return f"It answers as the run's own network would if {what}." if named else STRANGER
    far = FAR[precision]
    return f"{STRANGER} Their mean distance is {off:.2g}, and {far:g} is rounding." if off > far else ""


def _most_nearer(found: np.ndarray, expected: np.ndarray, answers: np.ndarray) -> bool:
    """Whether most of the answers that wrong pictures change are nearer to ``answers``: a mean may rest on one picture."""
    changed = _distances(answers, expected) > CHANGED
    nearer = _distances(found, answers) < _distances(found, expected)
    return 2 * int((changed & nearer).sum()) > int(changed.sum())


def same_file(litert: np.ndarray, mediapipe: np.ndarray, precision: str) -> str:
    """Why MediaPipe does not give what the file computes; "" where it does."""
    difference = np.abs(litert - mediapipe).max(initial=0.0)
    if np.isfinite(difference) and difference <= SAME_FILE[precision]:
        return ""
    return "MediaPipe gives other probabilities than the file computes: the labels or the normalization in it are wrong."


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over the pictures of half the sum of absolute differences: 0 for equal answers, 1 for opposite ones."""
    return float(_distances(one, other).mean()) if len(one) else 0.0


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other).sum(1) / 2


def candidates(pixels: np.ndarray, count: int = 160) -> np.ndarray:
    """Pictures on which mistakes show that natural ones may hide: uint8 like ``pixels`` [n, size, size, 3].

    Each is a mixture of two of them, dyed, so that its channels differ (a grey scan looks alike in any order), with some
    noise. Always the same ones for the same pictures.
    """
    if not len(pixels):
        return pixels
    rng = np.random.default_rng(len(pixels))
    one, other = (pixels[rng.integers(0, len(pixels), count)].astype(np.float32) for _ in range(2))
    share = rng.uniform(0.3, 0.7, (count, 1, 1, 1)).astype(np.float32)
    gain = rng.permuted(np.tile(np.float32([0.3, 0.65, 1.0]), (count, 1)), axis=1)[:, None, None, :]
    noise = rng.normal(0, 12, one.shape).astype(np.float32)
    return np.clip(np.rint((share * one + (1 - share) * other) * gain + noise), 0, 255).astype(np.uint8)


def least_certain(probabilities: np.ndarray, count: int = 32) -> np.ndarray:
    """int [count] or fewer: the pictures of which the network is least sure. There small errors show most."""
    return np.sort(np.argsort(margin(probabilities), kind="stable")[:count])


def margin(probabilities: np.ndarray) -> np.ndarray:
    """float [n]: by how much the first class leads the second."""
    two = np.sort(probabilities, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


# what a file may get wrong about its input: in words, and the same done to the pictures
WRONG_PICTURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "red and blue were swapped": lambda x: x[..., ::-1],
    "pictures were half as bright": lambda x: x // 2,
    "pictures were twice as bright": lambda x: np.minimum(x.astype(np.uint16) * 2, 255).astype(np.uint8),
    "pictures were inverted": lambda x: 255 - x,
    "pictures were black": lambda x: np.zeros_like(x),
    "pictures were mirrored": lambda x: x[:, :, ::-1],
    "rows and columns were swapped": lambda x: x.swapaxes(1, 2),
}
