"""Builds the response of ``/monitor`` from a run's prediction log and its drift tests. Opens no images.

Accuracy is computed from ground-truth labels only. Everything else, except the totals, covers the predictions still in
the log.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.statistics import wilson
from lib.train.evaluation import PartResult
from lib.train.monitoring.drift import FIRST_WINDOW, LEVEL, WINDOW
from lib.train.monitoring.drift_state import DriftState
from lib.train.monitoring.prediction_log import KEPT, Prediction, Totals
from lib.train.monitoring.report import (
    AccuracyBlock,
    AccuracyInUse,
    Confidence,
    DriftReport,
    DriftSignal,
    ExpectedAccuracy,
    KnownLabels,
    Latency,
    MonitorReport,
    Proposal,
    RuntimeLatency,
    TrafficBlock,
)
from lib.train.run_record import RunRecord

RECENT = 200  # labelled predictions that the accuracy is computed from
BLOCKS, BLOCK = 40, 25  # maximum points of a curve; minimum labels per point of the accuracy curve
BINS = 20  # bins of the confidence histogram
STAYS = 3  # consecutive flagged full windows before retraining is proposed
SAYS = {
    "confidence": "How sure the model is. This is not accuracy: a model can be confidently wrong, especially on "
    "pictures unlike those it was trained on.",
    "accuracy": "On the last pictures with a known label (POST /classify/{id}/truth), with its 95 % interval. Unknown "
    "without labels.",
    "latency": "Milliseconds in the classification process, from reading the picture to the answer. Loading the network "
    "(loading_ms of an answer) and waiting for other requests are not included.",
    "stored": f"For each of the last {KEPT:,} pictures: time, class, confidence, milliseconds, runtime, and the true label "
    f"if it was sent. For the last {WINDOW}: features, reduced to 128 and 16 numbers. No pictures, no file names, nothing "
    "about the sender. All of it is deleted with the run.",
}
MEANS = {  # explanation of a flagged test
    "inputs": "The pictures look different from the training pictures to a network that is independent of this run. That "
    "may be harmless: another camera, another compression.",
    "model": "The features that the run's own head receives differ from those in training. This test finds less than the "
    "other one, but what it finds is closer to a loss of accuracy. It needs full windows.",
}
FOUND = {
    "inputs": "The pictures look different from the training pictures",
    "model": "The run's own head receives different features than in training",
}
PARTS = ("test", "validation")  # baselines by preference: the best epoch was selected on the validation images


def build_report(
    record: RunRecord, predictions: Sequence[Prediction], totals: Totals, drift: DriftState, why: str = ""
) -> MonitorReport:
    """Build the report from a run's ``predictions`` and ``totals``. ``why`` explains why there is no reference, if so."""
    accuracy, drift_report = accuracy_in_use(record, predictions, totals), report_drift(drift, why)
    return MonitorReport(
        run=record.id,
        name=record.name,
        requests=totals.pictures,
        unreadable=totals.unreadable,
        since=totals.since,
        last=predictions[-1].at if predictions else None,
        over_time=[_traffic(block) for block in cut(predictions, 1)],
        labels=_label_counts(record, predictions),
        latency=_latency(predictions),
        confidence=_confidence(predictions),
        accuracy=accuracy,
        drift=drift_report,
        proposal=propose(accuracy, drift_report),
        stored=SAYS["stored"],
    )


def accuracy_in_use(record: RunRecord, predictions: Sequence[Prediction], totals: Totals) -> AccuracyInUse:
    """Compute the accuracy of the last ``RECENT`` predictions with a known label, in the order of prediction."""
    known = [prediction for prediction in predictions if prediction.truth is not None]
    recent, expected = known[-RECENT:], _expected(record)
    right = _right(recent)
    figures: dict[str, Any] = {}
    if recent:
        interval = wilson(right, len(recent))
        figures = {"value": right / len(recent), "interval": interval, "count": len(recent), "right": right}
    return AccuracyInUse(
        **figures,
        over_time=[_accuracy_block(block) for block in cut(known, BLOCK)],
        ever=KnownLabels(count=totals.truths, right=totals.right),
        expected=expected,
        fell=fell(right, len(recent), expected),
        says=SAYS["accuracy"],
    )


def fell(right: int, count: int, expected: ExpectedAccuracy | None) -> bool | None:
    """Returns whether the accuracy in use is significantly below ``expected``, or None if unknown.

    Its 95 % interval must lie below ``expected`` and the interval of their difference must exclude zero, because
    ``expected`` is itself an estimate from few images. Newcombe (1998), "Interval estimation for the difference between
    independent proportions", method 10.
    """
    if not count or expected is None:
        return None
    value, (_, high) = right / count, wilson(right, count)
    margin = math.hypot(expected.accuracy - expected.interval[0], high - value)
    return bool(high < expected.accuracy and expected.accuracy - value - margin > 0)


def report_drift(state: DriftState, why: str) -> DriftReport:
    """Report both tests. Nothing is tested before ``drift.FIRST_WINDOW`` images."""
    if not why and state.now is None:
        why = f"The first test runs after {FIRST_WINDOW} pictures; {state.seen} have been processed."
    return DriftReport(
        seen=state.seen,
        window=WINDOW,
        level=LEVEL,
        why=why,
        inputs=_signal("inputs", state),
        model=_signal("model", state),
        windows=list(state.windows),
    )


def _signal(kind: str, state: DriftState) -> DriftSignal:
    p = getattr(state.now, kind) if state.now else None
    recent = [getattr(window, kind) < LEVEL for window in state.windows[-STAYS:]]
    flagged, n = None if p is None else p < LEVEL, state.now.n if state.now else min(state.seen, FIRST_WINDOW)
    return DriftSignal(
        p=p,
        flagged=flagged,
        n=n,
        needed=FIRST_WINDOW,
        stays=len(recent) == STAYS and all(recent),
        says=_says(kind, flagged, n),
        means=MEANS[kind],
    )


def propose(accuracy: AccuracyInUse, drift: DriftReport) -> Proposal | None:
    """Propose retraining on new images, or return None if there is no reason to."""
    expected = accuracy.expected
    if accuracy.fell and expected and accuracy.interval:
        low, high = accuracy.interval
        sample = "the last picture" if accuracy.count == 1 else f"the last {accuracy.count} pictures"
        text = (
            f"On {sample} with a known label, accuracy is {accuracy.value:.1%} ({low:.1%} to {high:.1%}); "
            f"on {expected.count} {expected.part} pictures it was {expected.accuracy:.1%}. "
            "Train again on the new pictures with their labels."
        )
        return Proposal(reason="accuracy", text=text)
    if drift.inputs.stays or drift.model.stays:
        scope = "the model's features differ, too" if drift.model.stays else "so far only the pictures themselves"
        known = "Their labels show no loss so far." if accuracy.count else "Only labels show whether it matters: send some."
        text = (
            f"The last {STAYS * WINDOW} pictures differ from the training pictures ({scope}). {known} Label some of the new "
            "pictures and train on them together with the old ones."
        )
        return Proposal(reason="drift", text=text)
    return None


def cut(predictions: Sequence[Prediction], least: int) -> list[Sequence[Prediction]]:
    """Split into at most ``BLOCKS`` chronological blocks of equal size, at least ``least`` (or a single smaller block)."""
    size = max(least, -(-len(predictions) // BLOCKS))
    pieces = [predictions[start : start + size] for start in range(0, len(predictions), size)]
    if len(pieces) > 1 and len(pieces[-1]) < least:
        pieces[-2:] = [[*pieces[-2], *pieces[-1]]]
    return pieces


def quantile(values: Sequence[float], share: float) -> float:
    """Returns the quantile with linear interpolation, rounded to one decimal."""
    return round(float(np.quantile(values, share)), 1)


def _says(kind: str, flagged: bool | None, n: int) -> str:
    if flagged is None:
        return f"Nothing has been compared yet: the first test runs after {FIRST_WINDOW} pictures."
    return f"{FOUND[kind] if flagged else 'No difference from the training pictures was found'}. {n} pictures were compared."


def _expected(record: RunRecord) -> ExpectedAccuracy | None:
    """Returns the accuracy on held-out images. The training process wrote the record, so only the counts are trusted."""
    parts = record.result.parts if record.result else {}
    for part in PARTS:
        stored = parts.get(part)
        if stored and 0 <= stored.correct <= stored.count and 0 < stored.count < 10**9:
            result = PartResult.of(stored.correct, stored.count)
            return ExpectedAccuracy(part=part, accuracy=result.accuracy, interval=result.interval, count=result.count)
    return None


def _right(predictions: Sequence[Prediction]) -> int:
    return sum(prediction.truth == prediction.label for prediction in predictions)


def _accuracy_block(block: Sequence[Prediction]) -> AccuracyBlock:
    right, count = _right(block), len(block)
    return AccuracyBlock(
        start=block[0].at, end=block[-1].at, value=right / count, interval=wilson(right, count), count=count, right=right
    )


def _traffic(block: Sequence[Prediction]) -> TrafficBlock:
    return TrafficBlock(
        start=block[0].at,
        end=block[-1].at,
        count=len(block),
        milliseconds=quantile([prediction.milliseconds for prediction in block], 0.5),
        confidence=round(sum(prediction.score for prediction in block) / len(block), 4),
    )


def _latency(predictions: Sequence[Prediction]) -> Latency:
    names = sorted({prediction.runtime for prediction in predictions})[:8]
    runtimes = {}
    for name in names:
        times = [prediction.milliseconds for prediction in predictions if prediction.runtime == name]
        runtimes[name] = RuntimeLatency(count=len(times), p50=quantile(times, 0.5), p95=quantile(times, 0.95))
    all_times = [prediction.milliseconds for prediction in predictions]
    overall = {"p50": quantile(all_times, 0.5), "p95": quantile(all_times, 0.95)} if all_times else {}
    return Latency(**overall, runtimes=runtimes, says=SAYS["latency"])


def _confidence(predictions: Sequence[Prediction]) -> Confidence:
    counts = Counter(
        min(BINS - 1, max(0, int(prediction.score * BINS))) for prediction in predictions if math.isfinite(prediction.score)
    )
    return Confidence(
        mean=round(sum(prediction.score for prediction in predictions) / len(predictions), 4) if predictions else None,
        histogram=[counts[k] for k in range(BINS)],
        edges=[k / BINS for k in range(BINS + 1)],
        says=SAYS["confidence"],
    )


def _label_counts(record: RunRecord, predictions: Sequence[Prediction]) -> dict[str, int]:
    counts = Counter(prediction.label for prediction in predictions)
    return {name: counts[number] for number, name in enumerate(record.classes) if counts[number]}
