"""Checks whether an exported file agrees with the run's own network on every class. NumPy only; runs no model.

With few validation images a file can lose a rare class and still be within the accuracy interval: two classes swapped, a
class never predicted, a constant output. So each class is checked separately, on images that contain it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.train.edge.agreement import margin

# measured: docs/edge.md
SURE = 0.5  # margin above which the network counts as confident
MIN_PICTURES = 4  # confident images needed to check a class
FAR_OFF = 0.6  # difference of a probability that counts as an error on a confident image
RARELY = 0.01  # tolerated share of such errors
UNLIKE = 0.5  # maximum squared error relative to the variation of the network's outputs
STILL = {"fp32": 1e-3, "fp16": 3e-3, "int8": 2e-2}  # standard deviation of a probability explained by rounding
NAMED = 5  # class names listed in a message


def lost_class(expected: np.ndarray, found: np.ndarray, classes: Sequence[str], precision: str) -> str:
    """Returns why a class does not agree with the network, or "" if all do.

    ``expected`` are the network's and ``found`` the file's probabilities, float [n, classes], on the same n images, which
    include each class a few times, even rare ones. ``precision`` is fp32, fp16 or int8.
    """
    if not np.isfinite(found).all():
        return "Some of its probabilities are NaN or infinite."
    expected_labels, found_labels, sure = expected.argmax(1), found.argmax(1), margin(expected) > SURE
    for k, name in enumerate(classes):
        mask = sure & (expected_labels == k)
        flips = int((found_labels[mask] != k).sum())
        if 2 * flips > mask.sum():
            return (
                f"The trained network confidently labels {mask.sum()} pictures {_short(name)}; the file labels {flips} "
                "of them differently."
            )
    off = np.abs(found - expected)[sure].max(1, initial=0.0)
    far = int((off > FAR_OFF).sum())
    if far > RARELY * len(off):
        return (
            f"A probability differs by up to {off.max():.2g} on {far} of {len(off)} pictures of which the trained network "
            f"is sure; more than {FAR_OFF:g} is not rounding."
        )
    squared_error = ((found.astype(np.float64) - expected) ** 2).sum(0)
    diverging = (squared_error > UNLIKE * _varies(expected)) & (squared_error > len(expected) * STILL[precision] ** 2)
    if diverging.any():
        return (
            f"Its probabilities for {_short(classes[int(diverging.argmax())])} do not follow those of the trained network."
        )
    return ""


def unjudged(expected: np.ndarray, classes: Sequence[str], precision: str) -> list[str]:
    """Returns the classes that ``lost_class`` cannot check: never predicted with confidence and nearly constant outputs."""
    counts = np.bincount(expected.argmax(1)[margin(expected) > SURE], minlength=len(classes))
    constant = UNLIKE * _varies(expected) <= len(expected) * STILL[precision] ** 2
    return [classes[k] for k in np.flatnonzero(constant & (counts == 0))]


def undersampled_classes(expected: np.ndarray) -> np.ndarray:
    """Returns int: the classes predicted with confidence for fewer than ``MIN_PICTURES`` of these images."""
    counts = np.bincount(expected.argmax(1)[margin(expected) > SURE], minlength=expected.shape[1])
    return np.flatnonzero(counts < MIN_PICTURES)


def most_certain(probabilities: np.ndarray, label: int, count: int = MIN_PICTURES) -> np.ndarray:
    """Returns int [count] or fewer: indices of the images with the highest probability of ``label``."""
    return np.sort(np.argsort(-probabilities[:, label], kind="stable")[:count])


def named(classes: Sequence[str]) -> str:
    """Returns up to ``NAMED`` class names as text."""
    rest = len(classes) - NAMED
    return ", ".join(map(_short, classes[:NAMED])) + (f" and {rest:,} more" if rest > 0 else "")


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:59]}…")


def _varies(expected: np.ndarray) -> np.ndarray:
    """Returns float64 [classes]: the sum of squared deviations from the mean."""
    return ((expected - expected.mean(0)).astype(np.float64) ** 2).sum(0) if len(expected) else np.zeros(expected.shape[1])
