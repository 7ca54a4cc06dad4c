"""Measure how well a lossy file does its task, on samples or else on generated inputs. numpy only.

The proof checks whether a file is faithful to its precision; this checks whether that is good enough. Class scores are
measured by top-1 agreement (with labels, also by accuracy before and after), probabilities in a single column by the share
of equal decisions at 0.5, integers by equality, and everything else by the signal-to-noise ratio.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lib.convert.proof import measures
from lib.error_measures import absolute_error, both_finite, cosine, finite
from lib.statistics import mcnemar, wilson

MIN_AGREEMENT = 0.95
SQNR_DB = {"fp16": 30.0, "int8": 15.0}  # minimum ratio of the output's variation to its error
SCORES = re.compile(r"logit|score|prob|softmax|class|label|pred", re.IGNORECASE)
CONSTANT_NORM = 0.1  # rows whose norms vary by less than this share are embeddings, not class scores
CONFIDENT_DROP = 0.05  # p of McNemar's test below which a loss of accuracy is significant
DECISION = 0.5
NOISE = "SQNR, dB"
LOST_SHARE, MAX_LOST_SLICES, MIN_INPUTS = (
    0.5,
    0.15,
    3,
)  # error as a share of a slice's variation; share of lost slices (one score next to a box is more); number of inputs
Arrays = dict[str, np.ndarray]


@dataclass(slots=True)
class Quality:
    """Quality of one output. ``value``: a share (``interval``: Wilson, 95 %) or dB; ``floor``: the required minimum.

    ``error_to_variation``: root mean square error / standard deviation of the output over the inputs.
    ``accuracy_*`` and ``mcnemar_p``: only with labels.
    """

    name: str
    metric: str  # "top-1 agreement" | "decisions at 0.5" | "equal values" | "SQNR, dB"
    count: int
    value: float | None
    floor: float
    good: bool
    interval: tuple[float, float] | None = None
    classes: int | None = None  # number of distinct top classes in the expected rows
    cosine: float | None = None
    range_error: float | None = None
    error_to_variation: float | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    accuracy_before_interval: tuple[float, float] | None = None
    accuracy_after_interval: tuple[float, float] | None = None
    mcnemar_p: float | None = None
    reason: str = ""
    lost: str = ""  # message on slices whose errors are as large as their variation


@dataclass(slots=True)
class TaskQuality(Quality):
    """Quality over all outputs, with the figures of the worst. ``on``: "samples" or "made-up inputs"; ``inputs``: count."""

    on: str = "samples"
    inputs: int = 0
    outputs: list[Quality] = field(default_factory=list)
    summary: str = ""  # "same top class on 78 of 80 samples; largest error 0.0041 of the range"


def measure(
    name: str,
    expected: list[np.ndarray],
    ours: list[np.ndarray],
    precision: str,
    *,
    labels: list[int] | None = None,
    masks: list[np.ndarray] | None = None,
    min_agreement: float = MIN_AGREEMENT,
) -> Quality:
    """Measure one output. ``expected``, ``ours``: outputs of source and target for each input, pairwise of equal shape.

    ``labels``: a class per row, if this output has the scores. ``masks``: [rows, positions] for each input, 0 for padding,
    which is ignored.
    """
    a, b = _rows(name, expected, masks), _rows(name, ours, masks)
    if measures.kind(expected[0]) in "iubO":
        matches = np.asarray(a == b).reshape(len(a), -1).all(1)
        return _agreement(name, "equal values", matches, min_agreement)
    wide = [measures.wide(a), measures.wide(b)]
    kind = _kind_of_output(name, wide[0], labels, expected[0].shape)
    if kind == "decisions":
        result = _agreement(name, "decisions at 0.5", ((wide[0] > DECISION) == (wide[1] > DECISION)).all(1), min_agreement)
    elif kind == "classes":
        top = [np.argmax(v, -1) for v in wide]
        result = _agreement(name, "top-1 agreement", top[0] == top[1], min_agreement)
        result.classes = len(np.unique(top[0]))
        if result.classes == 1 and result.good:
            # with a single class any file would agree, so the values decide
            result = _noise(name, wide[0], wide[1], precision)
            result.classes = 1
        if labels is not None and len(labels) == len(top[0]) and 0 <= min(labels) <= max(labels) < wide[0].shape[-1]:
            _accuracy(result, top[0], top[1], np.asarray(labels))
    else:
        result = _noise(name, wide[0], wide[1], precision)
        result.lost = _lost(expected, ours)
    result.cosine = cosine(wide[0], wide[1])
    result.range_error = float(absolute_error(*finite(*wide)).max(initial=0.0)) / measures.peak(wide[0])
    result.error_to_variation = _variation(wide[0], wide[1])
    if (new_non_finite := np.isfinite(wide[0]) & ~np.isfinite(wide[1])).any():
        result.good, result.range_error = False, None
        result.reason = f"{int(new_non_finite.sum()):,} of its values are NaN or infinite, but not in the source."
    return result


def measure_all(
    outputs: list[str], expected: list[Arrays], ours: list[Arrays], precision: str, *, on: str, **given: Any
) -> TaskQuality | None:
    """Measure all outputs and return the quality of the worst. None if there is nothing to measure."""
    qualities = []
    scores = _scores(outputs, expected, given.get("labels"))
    for name in outputs:
        pairs = [(e[name], o[name]) for e, o in zip(expected, ours, strict=True) if name in e and name in o]
        pairs = [(e, o) for e, o in pairs if e.shape == o.shape and e.size and e.dtype.kind != "O"]
        if not pairs:
            continue
        options = given | ({} if name == scores else {"labels": None})
        qualities.append(measure(name, [e for e, _ in pairs], [o for _, o in pairs], precision, **options))
    if not qualities:
        return None
    if all(q.error_to_variation is None and q.metric == NOISE for q in qualities):
        for q in qualities:
            q.good, q.reason = False, "the output does not change over these inputs, so they show nothing."
    if all(q.metric == NOISE for q in qualities):  # where decisions are compared, they show the effect of such a loss
        for q in qualities:
            if q.good and q.lost:
                q.good, q.reason = False, q.lost
    worst = min(qualities, key=lambda q: (q.good, q.name != scores, q.value if q.value is not None else np.inf))
    extra = {"on": on, "inputs": len(expected), "outputs": qualities, "summary": summary(worst, on, len(expected))}
    return TaskQuality(**asdict(worst), **extra)


def summary(found: Quality, on: str, inputs: int) -> str:
    """Summarise the quality in one line for the visitor."""
    unit = on if found.count <= inputs else f"rows of {inputs} {on}"
    error = "" if found.range_error is None else f"; largest error {found.range_error:.2g} of the range"
    if found.metric == NOISE:
        level = "no error" if found.value is None else f"signal to noise {found.value:.1f} dB"
        return f"{level} on {found.count} {unit}{error}"
    matching = round((found.value or 0.0) * found.count)
    labels = {"top-1 agreement": "same top class", "decisions at 0.5": "same decision", "equal values": "equal"}
    text = f"{labels[found.metric]} on {matching} of {found.count} {unit}"
    if found.accuracy_before is not None:
        text += f"; accuracy {found.accuracy_before:.1%} before, {found.accuracy_after:.1%} after"
    return text + error


def _scores(outputs: list[str], expected: list[Arrays], labels: list[int] | None) -> str | None:
    """Return the output that the labels belong to: the most accurate one. Without labels, the first with classes."""
    candidates = [n for n in outputs if _takes_labels(n, expected)]
    if not labels or len(candidates) < 2:
        return candidates[0] if candidates else None
    tops = {n: np.concatenate([np.argmax(e[n], -1).reshape(-1) for e in expected]) for n in candidates}
    return max(candidates, key=lambda n: float((tops[n] == labels).mean()) if len(tops[n]) == len(labels) else -1.0)


def _takes_labels(name: str, expected: list[Arrays]) -> bool:
    value = expected[0].get(name) if expected else None
    return value is not None and measures.kind(value) == "f" and value.ndim == 2 and value.shape[1] >= measures.TOP1_LEAST


def _rows(name: str, values: list[np.ndarray], masks: list[np.ndarray] | None) -> np.ndarray:
    """Concatenate the outputs of all inputs to [rows, ...], with one row per position of a sequence's scores.

    Positions with a mask of 0 are left out.
    """
    rows = []
    for k, value in enumerate(values):
        mask = masks[k] if masks else None
        if mask is not None and value.ndim >= 3 and value.shape[:2] == mask.shape:
            rows.append(value[mask.astype(bool)])
        elif value.ndim == 3 and value.shape[-1] >= measures.TOP1_LEAST and SCORES.search(name):
            rows.append(value.reshape(-1, value.shape[-1]))
        else:
            rows.append(value.reshape(len(value), -1) if value.ndim else value.reshape(1, 1))
    width = max((v.shape[-1] for v in rows), default=0)
    if any(v.shape[-1] != width for v in rows):  # different sizes: all values of all inputs in one column
        return np.concatenate([v.reshape(-1, 1) for v in rows])
    return np.concatenate(rows)


def _kind_of_output(name: str, rows: np.ndarray, labels: list[int] | None, shape: tuple[int, ...]) -> str:
    """Return ``classes``, ``decisions`` or ``values``. ``shape``: of the output before it was reshaped to rows."""
    # a sequence has class scores only if its name says so and each position has several values
    not_scores = len(shape) > 2 and (shape[-1] < measures.TOP1_LEAST or not SCORES.search(name))
    if rows.ndim != 2 or not_scores:
        return "values"
    bounded = bool((rows >= 0).all() and (rows <= 1).all())
    if rows.shape[1] == 1:
        return "decisions" if bounded and np.ptp(rows) > 0 else "values"
    if labels is not None:
        return "classes"
    probabilities = bounded and np.allclose(rows.sum(1), 1, atol=1e-3)
    if probabilities or SCORES.search(name):
        return "classes"
    norms = np.linalg.norm(rows, axis=1)
    mean_norm = float(norms.mean())
    return "values" if mean_norm and float(norms.std()) < CONSTANT_NORM * mean_norm else "classes"


def _agreement(name: str, metric: str, same: np.ndarray, floor: float) -> Quality:
    agreeing, count = int(same.sum()), int(same.size)
    value = agreeing / count
    is_good = value >= floor
    outcomes = {"top-1 agreement": "the top class is the same", "decisions at 0.5": "the decision is the same"}
    outcome = outcomes.get(metric, "all values are equal")
    reason = "" if is_good else f"{outcome} on {agreeing} of {count} ({value:.1%}); at least {floor:.0%} is required."
    return Quality(name, metric, count, value, floor, is_good, wilson(agreeing, count), reason=reason)


def _accuracy(found: Quality, before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> None:
    """Add the accuracies. A significant loss of accuracy makes the file bad, whatever the agreement."""
    correct_before, correct_after = before == labels, after == labels
    found.accuracy_before, found.accuracy_after = float(correct_before.mean()), float(correct_after.mean())
    found.accuracy_before_interval = wilson(int(correct_before.sum()), len(labels))
    found.accuracy_after_interval = wilson(int(correct_after.sum()), len(labels))
    found.mcnemar_p = mcnemar(int((correct_before & ~correct_after).sum()), int((~correct_before & correct_after).sum()))
    drop = found.accuracy_before - found.accuracy_after
    if drop > 1 - MIN_AGREEMENT and found.mcnemar_p < CONFIDENT_DROP:
        found.good = False
        found.reason = (
            f"accuracy falls from {found.accuracy_before:.1%} to {found.accuracy_after:.1%} on {len(labels)} labelled "
            f"samples (McNemar's test: p = {found.mcnemar_p:.2g})."
        )


def _noise(name: str, a: np.ndarray, b: np.ndarray, precision: str) -> Quality:
    floor = SQNR_DB[precision]
    variation = _variation(a, b)
    value = None if not variation else -20 * float(np.log10(variation))
    unchanged = variation is None and not np.abs(b - a).max(initial=0.0)  # a constant output: the other outputs decide
    is_good = unchanged or (variation is not None and (value is None or value >= floor))
    reason = "" if is_good else (
        "the output does not change over these inputs."
        if variation is None
        else f"its error is {value:.1f} dB below its variation over the inputs; at least {floor:g} dB are required."
    )  # fmt: skip
    return Quality(name, NOISE, len(a), value, floor, is_good, reason=reason)


def _lost(expected: list[np.ndarray], ours: list[np.ndarray]) -> str:
    """Describe slices whose errors are as large as their variation; "" if there are few.

    The error of the whole output hides these, such as small values (scores) next to large ones (boxes).
    """
    shape = expected[0].shape
    if len(shape) < 2 or any(v.shape[1:] != shape[1:] for v in expected):
        return ""
    a, b = (np.concatenate([measures.wide(v) for v in outputs]) for outputs in (expected, ours))
    if len(a) < MIN_INPUTS:
        return ""
    variation, error = ((v**2) for v in (a - a.mean(0), b - a))
    for axis in range(1, a.ndim):
        other_axes = tuple(k for k in range(a.ndim) if k != axis)
        lost = (error.mean(other_axes) > LOST_SHARE**2 * variation.mean(other_axes)) & (variation.mean(other_axes) > 0)
        if lost.sum() > MAX_LOST_SLICES * lost.size:
            place = f"[{':, ' * axis}{int(lost.argmax())}]"
            return f"{int(lost.sum())} of {lost.size} slices such as {place} are lost: errors as large as their variation."
    return ""


def _variation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return RMS error / standard deviation of the expected values over the inputs; None if they do not vary."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    valid = both_finite(a, b)
    if not valid.any():
        return None
    mean = np.where(valid, a, 0.0).sum(0) / np.maximum(valid.sum(0), 1)
    spread = float(np.sqrt(((a - mean)[valid] ** 2).mean()))
    error = float(np.sqrt(((b - a)[valid] ** 2).mean()))
    return error / spread if spread > 0 else None
