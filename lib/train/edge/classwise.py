"""Whether an exported file answers every class as the run's own network does. numpy only; runs nothing.

On few validation pictures a file may lose a rare class and still be as accurate as its interval allows: two classes swapped,
one that is never answered, an answer that is always the same. So each class is judged by itself, on pictures that hold it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.train.edge.agreement import margin

# measured: docs/edge.md
SURE = 0.5  # by how much a first class leads where the network is sure
MIN_PICTURES = 4  # pictures of a class of which it is sure, to judge that class by
FAR_OFF = 0.6  # of a probability, where the network is sure
RARELY = 0.01  # share of the sure pictures that may be so far off all the same
UNLIKE = 0.5  # share of what the network's answers vary by, that a file's may miss them by
STILL = {"fp32": 1e-3, "fp16": 3e-3, "int8": 2e-2}  # standard deviation of a probability that rounding may hide
NAMED = 5  # classes in a sentence


def lost_class(expected: np.ndarray, found: np.ndarray, classes: Sequence[str], precision: str) -> str:
    """Why some class is not answered as by the network; "" where all are.

    ``expected`` float [n, classes] of the network and ``found`` of the file, on the same n pictures, which hold each class
    a few times, whatever its share is. ``precision`` is fp32, fp16 or int8.
    """
    if not np.isfinite(found).all():
        return "Some of its probabilities are no numbers."
    ours, theirs, sure = expected.argmax(1), found.argmax(1), margin(expected) > SURE
    for k, name in enumerate(classes):
        here = sure & (ours == k)
        other = int((theirs[here] != k).sum())
        if 2 * other > here.sum():
            return f"The run's own network surely calls {here.sum()} pictures {_short(name)}; it calls {other} otherwise."
    off = np.abs(found - expected)[sure].max(1, initial=0.0)
    far = int((off > FAR_OFF).sum())
    if far > RARELY * len(off):
        return (
            f"A probability differs by up to {off.max():.2g} on {far} of {len(off)} pictures of which the run's own network "
            f"is sure; over {FAR_OFF:g} is no rounding."
        )
    missed = ((found.astype(np.float64) - expected) ** 2).sum(0)
    unlike = (missed > UNLIKE * _varies(expected)) & (missed > len(expected) * STILL[precision] ** 2)
    if unlike.any():
        return f"Its probabilities of {_short(classes[int(unlike.argmax())])} do not follow those of the run's own network."
    return ""


def unjudged(expected: np.ndarray, classes: Sequence[str], precision: str) -> list[str]:
    """The classes that ``lost_class`` cannot judge: the network is never sure of them here and hardly varies."""
    given = np.bincount(expected.argmax(1)[margin(expected) > SURE], minlength=len(classes))
    still = UNLIKE * _varies(expected) <= len(expected) * STILL[precision] ** 2
    return [classes[k] for k in np.flatnonzero(still & (given == 0))]


def undersampled_classes(expected: np.ndarray) -> np.ndarray:
    """int: the classes that the network surely gives to fewer than ``MIN_PICTURES`` of these pictures."""
    given = np.bincount(expected.argmax(1)[margin(expected) > SURE], minlength=expected.shape[1])
    return np.flatnonzero(given < MIN_PICTURES)


def most_certain(probabilities: np.ndarray, label: int, count: int = MIN_PICTURES) -> np.ndarray:
    """int [count] or fewer: the pictures that the network most surely gives ``label``."""
    return np.sort(np.argsort(-probabilities[:, label], kind="stable")[:count])


def named(classes: Sequence[str]) -> str:
    """A few of them, in a sentence."""
    rest = len(classes) - NAMED
    return ", ".join(map(_short, classes[:NAMED])) + (f" and {rest:,} more" if rest > 0 else "")


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:59]}…")


def _varies(expected: np.ndarray) -> np.ndarray:
    """float64 [classes]: squared distances from the mean, together."""
    return ((expected - expected.mean(0)).astype(np.float64) ** 2).sum(0) if len(expected) else np.zeros(expected.shape[1])
