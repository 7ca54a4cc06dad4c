"""What each task asks of a model, on the outputs for the held-out inputs: plain numpy, nothing of the proof.

A measure takes what the converted file made, what the source made (both output by output, first axis samples) and the
labels or None, and gives a Truth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.convert.trained.subject import Truth

Outputs = list[np.ndarray]
Measure = Callable[[Outputs, Outputs, "np.ndarray | None"], Truth]


def top_class(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """The class with the highest score, in the first output."""
    a, b = (o[0].reshape(len(o[0]), -1).argmax(1) for o in (made, source))
    return _decisions(a, b, labels)


def label(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """The class that the model names itself, in the first output."""
    return _decisions(made[0].reshape(-1), source[0].reshape(-1), labels)


def speech(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """Speech or none, in every chunk."""
    a, b = (o[0].reshape(-1) > 0.5 for o in (made, source))
    return _decisions(a, b, labels)


def next_token(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """The likeliest next token at every position: [samples, 1, positions, tokens]; labels are -1 where none counts."""
    a, b = (o[0].reshape(-1, o[0].shape[-1]).argmax(1) for o in (made, source))
    assert labels is not None
    counts = labels.reshape(-1) >= 0
    return _decisions(a[counts], b[counts], labels.reshape(-1)[counts])


def nearest(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """Which other sentence is nearest, by the cosine of their embeddings."""

    def neighbours(outputs: Outputs) -> np.ndarray:
        flat = outputs[0].reshape(len(outputs[0]), -1)
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        near = flat @ flat.T
        np.fill_diagonal(near, -np.inf)
        return near.argmax(1)

    return _decisions(neighbours(made), neighbours(source), labels)


def explained(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """How much of the source's variation over samples the file gives: 1 - squared error / variance."""
    a, b = (o[0].reshape(len(o[0]), -1).astype(np.float64) for o in (made, source))
    error = ((a - b) ** 2).sum() / ((b - b.mean(0)) ** 2).sum()
    return Truth(float(1 - error), len(a))


def overlap(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """Masks (above zero, for logits): intersection over union, of all pixels of one sample; the mean over samples."""

    def masks(array: np.ndarray) -> np.ndarray:
        return array.reshape(len(array), -1) > 0

    def shared(a: np.ndarray, b: np.ndarray) -> float:
        both, any_ = (a & b).sum(1), (a | b).sum(1)
        return float(np.where(any_ > 0, both / np.maximum(any_, 1), 1.0).mean())

    a, b = masks(made[0]), masks(source[0])
    truth = None if labels is None else masks(labels)
    known = (None, None) if truth is None else (shared(b, truth), shared(a, truth))
    return Truth(shared(a, b), len(a), *known)


def faces(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """Face or none in every picture, and where there is one, the same place to within a tenth of its size."""
    (boxes, scores), (known, wanted) = _boxes_first(made), _boxes_first(source)
    a, b = (s.reshape(len(s), -1) for s in (scores, wanted))
    rows = np.arange(len(a))
    found, there = a.max(1) > 0, b.max(1) > 0  # logits
    mine = boxes.reshape(len(a), -1, boxes.shape[-1])[rows, a.argmax(1), :4]
    theirs = known.reshape(len(b), -1, known.shape[-1])[rows, b.argmax(1), :4]
    # anchors differ where scores tie, so only sizes are compared
    near = np.abs(mine[:, 2:] - theirs[:, 2:]).max(1) <= 0.1 * np.abs(theirs[:, 2:]).max(1)
    same = (found == there) & (near | ~there)
    before = None if labels is None else float((there == labels).mean())
    return Truth(float(same.mean()), len(a), before, None if labels is None else float((found == labels).mean()))


def landmarks(made: Outputs, source: Outputs, labels: np.ndarray | None) -> Truth:
    """Faces whose points are off by less than 1 % of the face's width on average: [samples, points x 3]."""
    a, b = (max(o, key=lambda v: v[0].size) for o in (made, source))
    a, b = a.reshape(len(a), -1, 3)[..., :2], b.reshape(len(b), -1, 3)[..., :2]
    width = b[..., 0].max(1) - b[..., 0].min(1)
    off = np.linalg.norm(a - b, axis=-1).mean(1) / width
    return Truth(float((off < 0.01).mean()), len(a))


def _boxes_first(outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    one, two = outputs
    return (one, two) if one[0].size > two[0].size else (two, one)


def _decisions(made: np.ndarray, source: np.ndarray, labels: np.ndarray | None) -> Truth:
    if labels is None:
        return Truth(float((made == source).mean()), len(source))
    labels = labels.reshape(-1)
    return Truth(
        float((made == source).mean()), len(source), float((source == labels).mean()), float((made == labels).mean())
    )


MEASURES: dict[str, Measure] = {
    f.__name__: f for f in (top_class, label, speech, next_token, nearest, explained, overlap, faces, landmarks)
}
